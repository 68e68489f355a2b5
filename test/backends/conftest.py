"""What the tests of TensorRT share: the library and one engine, built once."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from fakes.tensorrt import head_request

from geoflow_ros.backends.tensorrt.api import TENSORRT_RTX, TensorRt
from geoflow_ros.backends.tensorrt.engine import EngineRecord, EngineRequest, build
from geoflow_ros.bundle import Bundle


@pytest.fixture(scope="session")
def api() -> TensorRt:
    return TensorRt(TENSORRT_RTX)


@pytest.fixture
def request_of(api: TensorRt, small_bundle: Bundle) -> Callable[..., EngineRequest]:
    """Makes requests for the head's engine, with the changes that a test gives."""

    def make(**changes: object) -> EngineRequest:
        return replace(head_request(api, small_bundle), **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def head_engine(api: TensorRt, small_bundle: Bundle) -> tuple[bytes, EngineRecord]:
    return build(api, head_request(api, small_bundle))
