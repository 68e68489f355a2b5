"""One small model and map for the tests of the pipeline: the picture's colour decides on the model's answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.bundle import write_bundle
from fakes.map import DATUM, write_map

from geoflow_ros.backends import BackendOptions
from geoflow_ros.localization import VehicleLocalizer, VehicleOptions, VehicleSettings, open_vehicle_localizer

LEVER_ARM_M = (2.0, 0.5)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx", reason="needs onnx (the extra [test])")
    return write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_map(tmp_path_factory.mktemp("tiles") / "noise.mbtiles")


MakeVehicle = Callable[..., VehicleLocalizer]


@pytest.fixture
def make_vehicle(bundle: Path, tiles: Path) -> Iterator[MakeVehicle]:
    """Makes vehicle localizers with settings of their own."""
    made: list[VehicleLocalizer] = []

    def make(**settings: Any) -> VehicleLocalizer:
        options = VehicleOptions(
            tiles=tiles,
            datum=(DATUM.lat_deg, DATUM.lon_deg),
            model=bundle,
            backend=BackendOptions("onnxruntime", threads=1),
            vehicle=VehicleSettings(**{"lever_arm_m": LEVER_ARM_M, "wait_for_odometry_s": 0.0, **settings}),
            prepare_in_background=False,
        )
        made.append(open_vehicle_localizer(options))
        return made[-1]

    yield make
    for vehicle in made:
        vehicle.close()
