"""The map of a drive: as much of a world as a localizer needs on it."""

from __future__ import annotations

from pathlib import Path

from geoflow_ros.world.drive import Drive
from geoflow_ros.world.world import Photo, Region, World, exact_photo, write_mbtiles

# The map reaches this far beyond the drive: half the diagonal of a 100 m patch and the prior's error. A drive stays
# inside its layout, and the plan goes on for 130 m beyond that: the whole map shows ground.
_MAP_MARGIN_M = 120.0


def write_drive_map(drive: Drive, path: Path, world: World | None = None, photo: Photo = exact_photo) -> Path:
    """Writes the tiles that a localizer needs on a drive, as MBTiles; returns the path.

    Args:
        drive: where tiles are needed.
        path: of the file.
        world: what they show; the drive's own where None.
        photo: how.
    """
    return write_mbtiles(world or drive.world, path, drive_region(drive, _MAP_MARGIN_M), photo=photo)


def drive_region(drive: Drive, margin_m: float) -> Region:
    """Returns west, south, east, north of a drive with a margin, map metres."""
    east, north = drive.states.east_m, drive.states.north_m
    return (
        float(east.min()) - margin_m,
        float(north.min()) - margin_m,
        float(east.max()) + margin_m,
        float(north.max()) + margin_m,
    )
