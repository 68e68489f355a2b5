"""Vehicles before the camera: where they are projected, what they hide, and never more than asked."""

from __future__ import annotations

import numpy as np
import pytest

from geoflow_ros.world import Camera
from geoflow_ros.world.kinds import Label
from geoflow_ros.world.optics import CameraImage
from geoflow_ros.world.traffic import Vehicle, draw_vehicles, sample_vehicles

CAMERA = Camera.perspective(512, 128)
VAN = Vehicle(12.0, -1.0, 0.0, 8.0, 2.5, 2.3, 0.0, (200.0, 60.0, 60.0))


def empty_road(wall_m: float = 60.0) -> CameraImage:
    """A level road that ends at a distance."""
    depth = np.minimum(CAMERA.height_m / np.maximum(-CAMERA.slope, 1e-4), wall_m).astype(np.float32)
    return CameraImage(
        rgb=np.full((128, 512, 3), 120, np.uint8),
        depth_m=depth,
        label=np.full((128, 512), Label.ROAD, np.uint8),
        azimuth_rad=np.repeat(CAMERA.azimuth_rad[None], 128, axis=0),
        slope=CAMERA.slope,
        height_m=CAMERA.height_m,
    )


def test_the_rear_of_a_vehicle_is_seen_where_it_is_projected() -> None:
    image, _ = draw_vehicles(empty_road(), [VAN])
    is_rear = (image.label == Label.CAR) & (np.abs(image.depth_m * np.cos(image.azimuth_rad) - 8.0) < 0.01)
    rows, columns = np.nonzero(is_rear)
    left, right = (CAMERA.project(8.0, side, 1.0)[0] for side in (-2.25, 0.25))
    assert (columns.min(), columns.max()) == (pytest.approx(left, abs=1.5), pytest.approx(right, abs=1.5))
    assert rows.min() == pytest.approx(CAMERA.project(8.0, -1.0, 2.3)[1], abs=1.5)
    assert rows.max() == pytest.approx(CAMERA.project(8.0, -1.0, 0.15)[1], abs=1.5)


def test_a_turned_vehicle_is_as_far_as_its_corner() -> None:
    image, _ = draw_vehicles(empty_road(), [Vehicle(12.0, 0.0, np.pi / 4, 4.0, 4.0, 3.0, 0.0, (9.0, 9.0, 9.0))])
    assert image.depth_m[image.label == Label.CAR].min() == pytest.approx(12.0 - np.hypot(2, 2), abs=0.05)


def test_the_camera_looks_down_onto_a_low_roof() -> None:
    image, _ = draw_vehicles(empty_road(), [Vehicle(8.0, 0.0, 0.0, 4.0, 1.8, 1.2, 0.0, (200.0, 60.0, 60.0))])
    up = image.up_m[image.label == Label.CAR]
    assert (np.abs(up - 1.2) < 0.01).sum() > 20
    assert up.max() < 1.21


def test_what_is_nearer_hides_a_vehicle() -> None:
    image, _ = draw_vehicles(empty_road(wall_m=7.0), [VAN])
    assert not (image.label == Label.CAR).any()


def test_only_an_oncoming_vehicle_shows_headlamps() -> None:
    oncoming = Vehicle(10.0, -3.0, 0.0, 4.3, 1.8, 1.48, 0.95, (20.0, 20.0, 20.0), is_oncoming=True)
    leading = Vehicle(10.0, 0.0, 0.0, 4.3, 1.8, 1.48, 0.95, (20.0, 20.0, 20.0))
    for vehicle, redness in ((oncoming, False), (leading, True)):
        image, lamps = draw_vehicles(empty_road(), [vehicle])
        colour = image.rgb[lamps].mean(axis=0)
        assert lamps.any()
        assert (colour[0] > 2 * colour[2]) == redness


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("most", [0.25, 0.6])
def test_traffic_never_hides_more_of_the_lower_half_than_it_may(seed: int, most: float) -> None:
    road = empty_road()
    vehicles = sample_vehicles(np.random.default_rng(seed), road, most, most)
    image, _ = draw_vehicles(road, vehicles)
    assert (image.label[64:] == Label.CAR).mean() <= most


def test_dense_traffic_hides_much_and_light_traffic_little() -> None:
    road = empty_road()

    def hidden(cover: float) -> float:
        drawn = (sample_vehicles(np.random.default_rng(seed), road, cover, 0.6) for seed in range(20))
        return float(np.mean([(draw_vehicles(road, v)[0].label[64:] == Label.CAR).mean() for v in drawn]))

    assert hidden(0.05) < 0.2 < 0.35 < hidden(0.6)


def test_vehicles_do_not_stand_in_each_other() -> None:
    for seed in range(20):
        vehicles = sample_vehicles(np.random.default_rng(seed), empty_road(), 0.6, 0.6)
        for i, a in enumerate(vehicles):
            for b in vehicles[:i]:
                apart = abs(a.forward_m - b.forward_m) > (a.length_m + b.length_m) / 2
                assert apart or abs(a.right_m - b.right_m) >= (a.width_m + b.width_m) / 2
