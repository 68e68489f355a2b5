"""A bundle's covariance, fitted on pairs that neither training nor test sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.backends import BackendOptions
from geoflow_ros.backends.options import ONNXRUNTIME
from geoflow_ros.bundle import Bundle, Calibration, Manifest, PoseCalibration, PoseCalibrations
from geoflow_ros.bundle.methods import BIRDS_EYE
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.answers import true_yaw_rad
from geoflow_ros.evaluation.rendering import render_pairs
from geoflow_ros.evaluation.synthetic import Protocol, answer_to, camera_of, describe, loaded, sampler_for
from geoflow_ros.geo.angles import wrap_to_pi
from geoflow_ros.inference import GeoFlowLocalizer, SearchSettings, fit_calibration, open_localizer
from geoflow_ros.inference.birds_eye_assessment import raw_covariances
from geoflow_ros.inference.birds_eye_fix import BirdsEyeFix
from geoflow_ros.inference.pose_calibration import TEMPERATURES, fit_pose_calibration


def calibrate(
    model: str | Path, protocols: Sequence[Protocol], *, progress: bool = False
) -> Calibration | PoseCalibrations:
    """Fits a bundle's covariance on pairs of `Split.CALIBRATION`: neither training nor test sees them.

    Bird's-eye models have a calibration for a camera that is known and one for a camera that is not: each is fitted on
    the pairs under such conditions; one that no pairs speak of stays as it is.

    Args:
        model: a bundle's folder or a shipped one's name; its own calibration is not used.
        protocols: which pairs; those with as much known of the camera are mixed.
        progress: show a progress bar on standard error.

    Raises:
        GeoFlowError: a bundle that cannot be used, or too few pairs.
    """
    if not protocols:
        raise InputError("a calibration needs pairs: name at least one condition")
    bundle = loaded(model)
    if bundle.manifest.method == BIRDS_EYE:
        return _calibrate_poses(bundle, protocols, progress)
    localizer = GeoFlowLocalizer(bundle)
    errors, raw = [], []
    for protocol in protocols:
        sampler = sampler_for(bundle.manifest, protocol)
        for index, pair in enumerate(render_pairs(sampler, protocol.pairs, "calibrating", progress)):
            fix = answer_to(localizer, pair, index, protocol)
            errors.append(fix.frame.enu_to_local(fix.position) - pair.offset_m)
            raw.append(fix.raw_covariance)
    return fit_calibration(np.array(errors), np.array(raw), _description(protocols))


def _calibrate_poses(bundle: Bundle, protocols: Sequence[Protocol], progress: bool) -> PoseCalibrations:
    assert bundle.manifest.birds_eye is not None  # or it had another method
    known = [protocol for protocol in protocols if camera_of(protocol) is None]
    unknown = [protocol for protocol in protocols if camera_of(protocol) is not None]
    before = bundle.manifest.birds_eye.calibration
    return PoseCalibrations(
        _fitted(bundle, known, progress) if known else before.camera_known,
        _fitted(bundle, unknown, progress) if unknown else before.camera_unknown,
    )


def _fitted(bundle: Bundle, protocols: Sequence[Protocol], progress: bool) -> PoseCalibration:
    errors, raw = [], []
    for protocol in protocols:
        search = SearchSettings(camera=camera_of(protocol))
        localizer = open_localizer(bundle, BackendOptions(ONNXRUNTIME), search=search)
        sampler = sampler_for(bundle.manifest, protocol)
        for index, pair in enumerate(render_pairs(sampler, protocol.pairs, "calibrating", progress)):
            fix = answer_to(localizer, pair, index, protocol)
            if not isinstance(fix, BirdsEyeFix):
                raise InputError(f"the bundle '{bundle.manifest.name}' has flow from zero: it has no posterior to fit")
            assert fix.yaw_rad is not None
            yaw_error_rad = wrap_to_pi(fix.yaw_rad - true_yaw_rad(pair, fix))
            errors.append(np.append(fix.frame.enu_to_local(fix.position) - pair.offset_m, yaw_error_rad))
            raw.append(_raw_covariances(fix))
    return fit_pose_calibration(
        np.array(errors), np.array(raw), TEMPERATURES, _half_widths(bundle.manifest), _description(protocols)
    )


def _raw_covariances(fix: BirdsEyeFix) -> list[tuple[Float64Array, Float64Array]]:
    """(3, 3) of (forward, right, yaw) at each of `TEMPERATURES`: of the answer's own hill, and of all other places."""
    turn_rad = fix.frame.yaw_rad - float(fix.hypothesis_yaws_rad[0])
    pose = np.append(fix.frame.enu_to_local(fix.position), turn_rad)
    fitted = None if fix.flow is None else fix.flow.covariance
    return [raw_covariances(fix.posterior, pose, temperature, fitted) for temperature in TEMPERATURES]


def _half_widths(manifest: Manifest) -> Float64Array:
    """(3,) of what is searched: m, m, rad."""
    radius_m = manifest.search_radius_m
    return np.array([radius_m, radius_m, math.radians(manifest.geometry.max_turn_deg)])


def _description(protocols: Sequence[Protocol]) -> str:
    first = protocols[0]
    parts = [
        f"{protocol.pairs} {protocol.area.value}-area pairs"
        if protocol.orthophotos is None
        else f"{protocol.pairs} pairs of orthophotos"
        for protocol in protocols
    ]
    mixed = ", ".join(f"{part} ({p.conditions.name})" for part, p in zip(parts, protocols, strict=True))
    return f"{mixed}, seed {first.seed}, heading error {describe(first.heading)}"
