"""The check of a reduced precision against float32."""

from pathlib import Path

import pytest
from fakes.rounded_backend import RoundedBackend

from geoflow_ros.backends import OnnxRuntimeBackend
from geoflow_ros.bundle import Bundle
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation import precision
from geoflow_ros.world.pairs import Area


def test_a_precision_is_compared_on_the_same_pairs_and_hypotheses() -> None:
    shipped = Bundle.load(Path(__file__).resolve().parents[2] / "models" / "synthetic")
    check = precision.compare(shipped, RoundedBackend(shipped), pairs=6, seed=3)
    assert (check.precision, check.pairs, check.backend) == ("bf16", 6, "rounded bf16")
    assert "cross" in check.data
    assert "calibration" in check.data
    assert 0.0 < check.median_difference_m <= check.largest_difference_m < 0.5
    assert abs(check.mean_error_m - check.reference_mean_error_m) <= check.largest_difference_m
    assert check.mean_error_m > 0.1
    assert not check.passes  # six pairs prove nothing


def test_float32_is_not_compared_with_itself(converging_bundle: Path) -> None:
    bundle = Bundle.load(converging_bundle)
    with pytest.raises(InputError, match="already"):
        precision.compare(bundle, OnnxRuntimeBackend(bundle), pairs=2, area=Area.SAME)
