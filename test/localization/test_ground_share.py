"""Maps with holes under a vehicle: small ones cost nothing; where too little is left there is no pose, and why."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes.map import DATUM
from fakes.tiles import encoded, ground, mercator, with_alpha
from fakes.vehicle import StraightDrive, picture

from geoflow_ros.arrays import BoolArray, UInt8Array
from geoflow_ros.backends import BackendOptions
from geoflow_ros.errors import TileMissingError
from geoflow_ros.geo import ground_resolution, tile_at
from geoflow_ros.images import write_image
from geoflow_ros.localization import (
    FrameRejected,
    RejectReason,
    VehicleOptions,
    VehicleSettings,
    open_vehicle_localizer,
)
from geoflow_ros.localization.single_image import localize_image

ZOOM = 19
TILE_M = 256 * ground_resolution(DATUM.lat_deg, ZOOM)
CENTRE = mercator(np.array(DATUM.lat_deg), np.array(DATUM.lon_deg), ZOOM)
PATCH_M = 100.25

Tile = Callable[[int, int], UInt8Array | bytes]
MakeDrive = Callable[..., StraightDrive]


def write_tiles(folder: Path, tile: Tile, fmt: str = "png") -> str:
    """Writes a folder of the tiles within 200 m of the datum and returns its template."""
    x0, y0 = tile_at(DATUM.lat_deg, DATUM.lon_deg, ZOOM)
    for x in range(x0 - 4, x0 + 5):
        (folder / f"{ZOOM}/{x}").mkdir(parents=True)
        for y in range(y0 - 4, y0 + 5):
            (folder / f"{ZOOM}/{x}/{y}.{fmt}").write_bytes(encoded(tile(x, y), fmt))
    return f"{folder}/{{z}}/{{x}}/{{y}}.{fmt}"


@pytest.fixture
def on_map(bundle: Path, tmp_path: Path) -> Iterator[MakeDrive]:
    """Starts a vehicle in the middle of a map of such tiles."""
    made = []

    def start(tile: Tile, fmt: str = "png") -> StraightDrive:
        options = VehicleOptions(
            tiles=write_tiles(tmp_path / "tiles", tile, fmt),
            datum=(DATUM.lat_deg, DATUM.lon_deg),
            model=bundle,
            backend=BackendOptions("onnxruntime", threads=1),
            vehicle=VehicleSettings(wait_for_odometry_s=0.0),
            prepare_in_background=False,
        )
        made.append(open_vehicle_localizer(options))
        drive = StraightDrive(made[-1])
        drive.drive()
        drive.start()
        drive.drive()
        return drive

    yield start
    for vehicle in made:
        vehicle.close()


def beyond(north_m: float) -> Callable[[int, int], BoolArray]:
    """(256, 256) of the pixels of tile (x, y) that lie more than so far north of the datum."""

    def is_beyond(x: int, y: int) -> BoolArray:
        rows = np.arange(256) + 0.5 + y * 256
        return np.repeat(((CENTRE[1] - rows) * TILE_M / 256 > north_m)[:, None], 256, axis=1)

    return is_beyond


def speckled(x: int, y: int) -> UInt8Array:
    """What GDAL makes of shadows that have the no-data value by chance: transparent spots all over."""
    is_hole = np.zeros((256, 256), bool)
    for row, column in np.random.default_rng([x, y, 1]).integers(0, 250, (12, 2)):
        is_hole[row : row + 2, column : column + 2] = True
    return with_alpha(ground(x, y), is_hole)


def black_beyond(north_m: float) -> Tile:
    is_beyond = beyond(north_m)
    return lambda x, y: np.where(is_beyond(x, y)[..., None], 0, ground(x, y)).astype(np.uint8)


def rejection(drive: StraightDrive) -> FrameRejected:
    with pytest.raises(FrameRejected) as caught:
        drive.look()
    return caught.value


def test_a_map_with_transparent_specks_gives_poses_everywhere(on_map: MakeDrive) -> None:
    drive = on_map(speckled)
    for _ in range(5):
        drive.drive(4.0)
        drive.start()
        assert drive.look().patch.ground_share == 1.0
    assert drive.localizer.facts()["patch_ground_share"] == "1.00"


def test_a_hole_at_the_edge_of_the_patch_is_told_and_the_pose_comes(on_map: MakeDrive) -> None:
    is_beyond = beyond(PATCH_M / 4)
    drive = on_map(lambda x, y: with_alpha(ground(x, y), is_beyond(x, y)))
    share = 0.75 - drive.north_m / PATCH_M  # the patch's centre is where the vehicle has driven to
    assert drive.look().patch.ground_share == pytest.approx(share, abs=0.01)
    assert drive.localizer.facts()["patch_ground_share"] == f"{share:.2f}"


def test_too_much_of_a_black_border_is_a_rejection_that_names_the_share_until_the_vehicle_is_back(
    on_map: MakeDrive,
) -> None:
    drive = on_map(black_beyond(-PATCH_M / 4), "jpg")
    for _ in range(2):  # the second frame meets the patch that is kept
        rejected = rejection(drive)
        assert rejected.reason is RejectReason.TILES
        share = float(drive.localizer.facts()["patch_ground_share"])
        assert share == pytest.approx(0.25 - drive.north_m / PATCH_M, abs=0.02)
        percent = round(100 * share)
        words = f"only {percent} % of the satellite patch shows ground (black {100 - percent} %)"
        assert words in rejected.detail
        drive.drive(0.02)
    drive.north_m = -100.0
    drive.start()
    drive.drive()
    assert drive.look().patch.ground_share == 1.0


ONE_COLOUR = np.full((256, 256, 3), (204, 204, 208), np.uint8)
NOWHERE: dict[str, tuple[Tile, str]] = {
    "black": (lambda x, y: np.zeros((256, 256, 3), np.uint8), r"only 0 % .* \(black 100 %\)"),
    "one colour": (lambda x, y: ONE_COLOUR, r"\(tiles of one colour 100 %\)"),
    "one picture": (lambda x, y: ground(0, 0), r"\(one and the same tile at several places 100 %\)"),
    "transparent": (lambda x, y: with_alpha(ground(x, y), np.ones((256, 256), bool)), r"\(transparent 100 %\)"),
}


@pytest.mark.parametrize("name", NOWHERE)
def test_placeholders_are_a_rejection_that_names_them(on_map: MakeDrive, name: str) -> None:
    tile, words = NOWHERE[name]
    rejected = rejection(on_map(tile))
    assert rejected.reason is RejectReason.TILES
    assert re.search(words, rejected.detail)


def test_a_missing_tile_at_the_edge_costs_no_pose_and_a_place_beyond_it_is_outside_the_map(on_map: MakeDrive) -> None:
    drive = on_map(ground)
    _, y0 = tile_at(DATUM.lat_deg, DATUM.lon_deg, ZOOM)
    edge_m = (CENTRE[1] / 256 - (y0 - 4)) * TILE_M
    drive.north_m = edge_m - PATCH_M / 4
    drive.start()
    assert drive.look().patch.ground_share == pytest.approx(0.75, abs=0.01)
    drive.north_m = edge_m + PATCH_M
    drive.start()
    drive.drive()
    rejected = rejection(drive)
    assert rejected.reason is RejectReason.MAP
    assert "is outside the map" in rejected.detail


def test_one_image_on_a_map_that_shows_nothing_is_refused_and_on_half_a_hole_tells_the_share(
    bundle: Path, tmp_path: Path
) -> None:
    write_image(tmp_path / "camera.png", picture())

    def localize(name: str, north_m: float) -> float:
        tiles = write_tiles(tmp_path / name, black_beyond(north_m), "jpg")
        at = (DATUM.lat_deg, DATUM.lon_deg)
        return localize_image(tmp_path / "camera.png", *at, 0.0, tiles, bundle).as_json()["patch_ground_share"]

    assert localize("most", PATCH_M / 4) == pytest.approx(0.75, abs=0.02)
    with pytest.raises(TileMissingError, match=r"only 2\d % of the satellite patch shows ground \(black 7\d %\)"):
        localize("little", -PATCH_M / 4)
