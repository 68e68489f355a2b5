"""A bag that holds its map replays without any server: the same pixels, and the same fixes to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.bags import SECOND_NS, START_NS, STORE, header, message
from fakes.map import DATUM, ZOOM, damage_map
from fakes.vehicle import StraightDrive
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer

from geoflow_ros.backends import BackendOptions
from geoflow_ros.geo import PatchFrame, tile_at, tile_bounds
from geoflow_ros.localization import (
    FrameRejected,
    VehicleFix,
    VehicleOptions,
    VehicleSettings,
    open_vehicle_localizer,
)
from geoflow_ros.tiles import ReceivedTiles, TilesAround, open_tile_source
from geoflow_ros.tiles.around import tile_to_send, zoom_of_patches

TOPIC, KIND = "/satellite/tiles", "sensor_msgs/msg/CompressedImage"
PATCH = PatchFrame(10.0, -5.0, 0.3, 64, 0.78)


def write_bag(path: Path, tiles: Path, radius_m: float) -> Path:
    """A bag of the tiles around the datum, as `tile_publisher` sends them."""
    source = open_tile_source(tiles)
    around = TilesAround(zoom_of_patches(source, PATCH, DATUM.lat_deg, DATUM.lon_deg, None), radius_m)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(TOPIC, KIND, typestore=STORE)
        for n, key in enumerate(around.due(DATUM.lat_deg, DATUM.lon_deg)):
            data = np.frombuffer(tile_to_send(source, key), np.uint8)
            stamp_ns = START_NS + n * SECOND_NS // 20
            place: Any = header(stamp_ns)
            place.frame_id = "/".join(map(str, key))
            tile = message(KIND, header=place, format="png" if len(data) else "", data=data)
            writer.write(connection, stamp_ns, STORE.serialize_cdr(tile, KIND))
    source.close()
    return path


def take_bag(path: Path, tiles: ReceivedTiles) -> ReceivedTiles:
    with AnyReader([path], default_typestore=STORE) as reader:
        for connection, _, raw in reader.messages():
            tile: Any = reader.deserialize(raw, connection.msgtype)
            assert tiles.take(tile.header.frame_id, bytes(tile.data))
    return tiles


def drive(options: VehicleOptions) -> list[VehicleFix]:
    """The fixes of a short drive."""
    vehicle = open_vehicle_localizer(options)
    straight = StraightDrive(vehicle)
    edge = tile_bounds(ZOOM, *tile_at(DATUM.lat_deg, DATUM.lon_deg, ZOOM)).east_deg
    straight.east_m = float(DATUM.to_enu(DATUM.lat_deg, edge)[0]) - 40.0  # of a patch that reaches 50 m
    straight.drive()
    straight.start()
    fixes = []
    for _ in range(5):
        straight.drive()
        fixes.append(straight.look())
    vehicle.close()
    return fixes


@pytest.mark.parametrize("with_holes", [False, True])
def test_a_bag_with_its_tiles_gives_the_same_pixels_and_the_same_fixes(
    bundle: Path, tiles: Path, tmp_path: Path, with_holes: bool
) -> None:
    town = tmp_path / "town.mbtiles"
    town.write_bytes(tiles.read_bytes())
    if with_holes:
        damage_map(town, "DELETE FROM tiles")
    bag = write_bag(tmp_path / "bag", town, 200.0)
    options = VehicleOptions(
        tiles=town,
        datum=(DATUM.lat_deg, DATUM.lon_deg),
        model=bundle,
        backend=BackendOptions("onnxruntime", threads=1),
        vehicle=VehicleSettings(wait_for_odometry_s=0.0),
        prepare_in_background=False,
    )
    with_server = drive(options)
    town.rename(tmp_path / "away")
    from_bag = drive(replace(options, tiles=take_bag(bag, ReceivedTiles(2**24))))
    for one, other in zip(with_server, from_bag, strict=True):
        assert np.array_equal(one.patch.pixels, other.patch.pixels)
        assert one.patch.ground_share == other.patch.ground_share
        assert (one.fix.east_m, one.fix.north_m, one.track.yaw_rad) == (
            other.fix.east_m,
            other.fix.north_m,
            other.track.yaw_rad,
        )
        assert np.array_equal(one.fix.covariance, other.fix.covariance)
        assert np.array_equal(one.track.covariance, other.track.covariance)
    assert (with_server[0].patch.ground_share < 1.0) == with_holes


def test_a_frame_before_its_tiles_is_rejected_and_the_next_one_after_them_is_not(
    bundle: Path, tiles: Path, tmp_path: Path
) -> None:
    bag = write_bag(tmp_path / "bag", tiles, 200.0)
    received = ReceivedTiles(2**24)
    options = VehicleOptions(
        tiles=received,
        datum=(DATUM.lat_deg, DATUM.lon_deg),
        model=bundle,
        backend=BackendOptions("onnxruntime", threads=1),
        vehicle=VehicleSettings(wait_for_odometry_s=0.0),
        prepare_in_background=False,
    )
    vehicle = open_vehicle_localizer(options)
    straight = StraightDrive(vehicle)
    straight.drive()
    straight.start()
    with pytest.raises(FrameRejected, match="has not come on 'satellite/tiles'"):
        straight.look()
    take_bag(bag, received)
    straight.drive()
    assert straight.look().fix is not None
    vehicle.close()
