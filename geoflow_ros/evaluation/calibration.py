"""A bundle's covariance, fitted on pairs that neither training nor test sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geoflow_ros.bundle import Calibration
from geoflow_ros.evaluation.rendering import render_pairs
from geoflow_ros.evaluation.synthetic import Protocol, as_patch, describe, loaded, sampler_for
from geoflow_ros.inference import GeoFlowLocalizer, fit_calibration


def calibrate(model: str | Path, protocol: Protocol, *, progress: bool = False) -> Calibration:
    """Fits the covariance's scale and floor on pairs of `Split.CALIBRATION`: neither training nor test sees them.

    Args:
        model: a bundle's folder or a shipped one's name; its own calibration is not used.
        protocol: which pairs.
        progress: show a progress bar on standard error.
    """
    bundle = loaded(model)
    localizer = GeoFlowLocalizer(bundle)
    errors, raw = [], []
    sampler = sampler_for(bundle.manifest, protocol)
    for index, pair in enumerate(render_pairs(sampler, protocol.pairs, "calibrating", progress)):
        fix = localizer.localize(pair.ground, as_patch(pair, bundle.manifest), stamp_ns=index)
        errors.append(fix.frame.enu_to_local(fix.position) - pair.offset_m)
        raw.append(fix.raw_covariance)
    area, heading = protocol.area.value, describe(protocol.heading)
    data = f"{protocol.pairs} {area}-area pairs, seed {protocol.seed}, heading error {heading}"
    return fit_calibration(np.array(errors), np.array(raw), data)
