"""The fit of a posterior's covariance to errors that were observed."""

import math

import numpy as np
import pytest

from geoflow_ros.arrays import Float64Array
from geoflow_ros.errors import InputError
from geoflow_ros.inference.compass_search import compass_search
from geoflow_ros.inference.pose_calibration import fit_pose_calibration

HALF_WIDTHS = (20.0, 20.0, math.radians(10.0))


def drawn(count: int, seed: int) -> tuple[Float64Array, Float64Array]:
    """Raw covariances (n, 3, 3), and errors of twice their sigma forward, once right, half of yaw."""
    rng = np.random.default_rng(seed)
    sigma = rng.uniform(0.3, 2.0, (count, 3)) * np.array([1.0, 1.0, 0.02])
    raw = sigma[:, :, None] ** 2 * np.eye(3)
    errors = rng.normal(size=(count, 3)) * sigma * np.array([2.0, 1.0, 0.5])
    return errors, raw


def alone(*raw: Float64Array) -> Float64Array:
    """At each temperature (n, 3, 3) of the answers' own hills; no other places."""
    own = np.stack(raw, axis=1)
    return np.stack([own, np.zeros_like(own)], axis=2)


def test_scales_are_found_and_gross_errors_do_not_widen_them() -> None:
    errors, raw = drawn(1500, 1)
    clean = fit_pose_calibration(errors, alone(raw), [1.0], HALF_WIDTHS)
    assert (clean.forward_scale, clean.right_scale, clean.yaw_scale) == pytest.approx((2.0, 1.0, 0.5), rel=0.06)
    errors[:15, :2] = 15.0  # one in a hundred is elsewhere
    marred = fit_pose_calibration(errors, alone(raw), [1.0], HALF_WIDTHS)
    assert marred.forward_scale == pytest.approx(clean.forward_scale, rel=0.06)
    assert marred.right_scale == pytest.approx(clean.right_scale, rel=0.06)
    assert marred.pairs == 1500


def test_errors_that_the_covariance_saw_coming_count_in_full() -> None:
    """Answers that are far off where the posterior says that they may be are no gross errors."""
    errors, raw = drawn(1000, 2)
    both = alone(raw)
    errors[:200, 0], both[:200, 0, 1, 0, 0] = np.where(np.arange(200) % 2, 16.0, -16.0), 16.0**2
    assert fit_pose_calibration(errors, both, [1.0], HALF_WIDTHS).forward_scale == pytest.approx(2.0, rel=0.06)


def test_the_temperature_is_the_one_whose_covariances_tell_large_errors_from_small_ones() -> None:
    errors, raw = drawn(600, 3)
    blind = np.broadcast_to(raw.mean(axis=0), raw.shape)
    fitted = fit_pose_calibration(errors, alone(blind, raw), [0.5, 0.7], HALF_WIDTHS)
    assert fitted.temperature == 0.7


def test_calibrated_covariances_have_an_anees_of_one_on_other_pairs() -> None:
    errors, raw = drawn(1000, 4)
    others, other_raw = drawn(4000, 5)
    sigma = fit_pose_calibration(errors, alone(raw), [1.0], HALF_WIDTHS).apply(other_raw)
    nees = np.einsum("ni,nij,nj->n", others, np.linalg.inv(sigma), others)
    assert nees.mean() / 3 == pytest.approx(1.0, abs=0.08)


def test_position_and_yaw_are_each_judged_by_themselves() -> None:
    """A correlation that the posterior overstates makes the whole look sharper than its parts are."""
    rng = np.random.default_rng(8)
    sigma = np.array([1.0, 1.0, 0.02])
    correlation = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.9], [0.0, 0.9, 1.0]])
    stated = np.broadcast_to(correlation * np.outer(sigma, sigma), (1500, 3, 3)).copy()
    errors = rng.normal(size=(1500, 3)) * sigma  # in truth there is none
    fitted = fit_pose_calibration(errors, alone(stated), [1.0], HALF_WIDTHS)
    assert (fitted.right_scale, fitted.yaw_scale) == pytest.approx((1.0, 1.0), rel=0.06)


def test_a_fit_says_how_far_it_reaches_and_fades_beyond() -> None:
    errors, raw = drawn(1500, 9)
    fitted = fit_pose_calibration(errors, alone(raw), [1.0], HALF_WIDTHS)
    assert fitted.yaw_most_rad == pytest.approx(0.04, rel=0.05)
    stds = [np.sqrt(fitted.apply(np.diag([1.0, 1.0, std**2]))[2, 2]) for std in (0.02, 0.08, 0.4)]
    assert stds == pytest.approx([0.01, 0.08, 0.4], rel=0.06)


def test_a_fit_refuses_what_it_cannot_learn_from() -> None:
    errors, raw = drawn(40, 6)
    for bad_errors, bad_raw, half_widths, reason in (
        (errors[:5], alone(raw[:5]), HALF_WIDTHS, "at least 20"),
        (errors, raw, HALF_WIDTHS, r"\(n, 1, 2, 3, 3\)"),
        (errors * np.nan, alone(raw), HALF_WIDTHS, "finite"),
        (errors, alone(raw), (20.0, 0.0, 0.1), "volume"),
    ):
        with pytest.raises(InputError, match=reason):
            fit_pose_calibration(bad_errors, bad_raw, [1.0], half_widths)


def test_compass_search_stops_at_the_least_value_or_at_a_bound() -> None:
    def bowl(x: Float64Array) -> float:
        return float((x[0] - 1.5) ** 2 + (x[1] + 9.0) ** 2)

    assert compass_search(bowl, np.zeros(2), -4.0, 4.0) == pytest.approx([1.5, -4.0], abs=1e-3)
