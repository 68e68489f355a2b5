"""The cost of a reduced precision: the same image pairs and hypotheses through it and through float32."""

from __future__ import annotations

import numpy as np

from geoflow_ros.arrays import Float64Array
from geoflow_ros.backends import Backend, OnnxRuntimeBackend
from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.precision import FLOAT32, PrecisionCheck
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.rendering import render_pairs
from geoflow_ros.evaluation.synthetic import Protocol, as_patch, describe, sampler_for
from geoflow_ros.inference import GeoFlowLocalizer
from geoflow_ros.world.pairs import Area
from geoflow_ros.world.splits import Split


def compare(
    bundle: Bundle,
    candidate: Backend,
    pairs: int = 512,
    seed: int = 0,
    area: Area = Area.CROSS,
    split: Split = Split.CALIBRATION,
    progress: bool = False,
) -> PrecisionCheck:
    """Localizes synthetic pairs with a back end of reduced precision and with onnxruntime in float32.

    Args:
        bundle: that both run.
        candidate: the back end in question.
        pairs: how many; a check counts from `bundle.precision.FEWEST_PAIRS` on.
        seed: which pairs.
        area: of the town, or of cities of which training saw none.
        split: whose worlds; by default those that neither training nor test sees.
        progress: show a progress bar on standard error.

    Raises:
        InputError: the candidate runs in float32, or no pair was asked for.
        BundleError: a back end's numbers are not finite: the precision is not enough to hold them.
    """
    if candidate.precision == FLOAT32:
        raise InputError(f"{candidate.name} runs in float32 already: there is nothing to compare")
    if pairs < 1:
        raise InputError(f"a check of the precision needs at least one pair, got {pairs}")
    protocol = Protocol(area, pairs, seed, split=split)
    localizers = (GeoFlowLocalizer(bundle, candidate), GeoFlowLocalizer(bundle, OnnxRuntimeBackend(bundle)))
    answers: list[list[Float64Array]] = []  # (pairs, 2, 2): by the candidate and in float32
    truths = []
    what = f"checking {candidate.precision}"
    for index, pair in enumerate(render_pairs(sampler_for(bundle.manifest, protocol), pairs, what, progress)):
        patch = as_patch(pair, bundle.manifest)
        # the stamp is the hypotheses' seed: both start from the same
        fixes = [localizer.localize(pair.ground, patch, stamp_ns=index) for localizer in localizers]
        answers.append([patch.frame.enu_to_local(fix.position) for fix in fixes])
        truths.append(pair.offset_m)
    reduced, exact = np.swapaxes(np.array(answers), 0, 1)
    truth = np.array(truths)
    difference = np.linalg.norm(reduced - exact, axis=-1)
    return PrecisionCheck(
        precision=candidate.precision,
        backend=candidate.name,
        data=f"{area.value}-area of the {split.name.lower()} split, seed {seed}, heading error "
        f"{describe(protocol.heading)}",
        pairs=pairs,
        mean_error_m=float(np.linalg.norm(reduced - truth, axis=-1).mean()),
        reference_mean_error_m=float(np.linalg.norm(exact - truth, axis=-1).mean()),
        largest_difference_m=float(difference.max()),
        median_difference_m=float(np.median(difference)),
    )
