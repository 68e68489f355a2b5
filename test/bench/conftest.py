"""What the tests of the benchmark share: one small bundle and pictures in its sizes."""

from pathlib import Path

import pytest

from geoflow_ros.backends import OnnxRuntimeBackend
from geoflow_ros.bench.pictures import Pictures
from geoflow_ros.bench.views import render_pictures
from geoflow_ros.bundle import Bundle
from geoflow_ros.inference import GeoFlowLocalizer
from geoflow_ros.resources import model_path


@pytest.fixture(scope="session")
def bundle(converging_bundle: Path) -> Bundle:
    return Bundle.load(converging_bundle)


@pytest.fixture(scope="session")
def shipped_bundle() -> Bundle:
    return Bundle.load(model_path("synthetic"))


@pytest.fixture(scope="session")
def pictures(bundle: Bundle) -> list[Pictures]:
    return render_pictures(bundle.manifest, 2)


@pytest.fixture
def localizer(bundle: Bundle) -> GeoFlowLocalizer:
    return GeoFlowLocalizer(bundle, OnnxRuntimeBackend(bundle, threads=1))
