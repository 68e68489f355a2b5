"""The authors' way of evaluating."""

from pathlib import Path

import numpy as np
import pytest

from geoflow_ros.bench.pictures import Pictures
from geoflow_ros.bundle import Bundle, IrsSettings
from geoflow_ros.inference import GeoFlowLocalizer


def test_encoding_once_answers_as_the_authors_way(
    bundle: Bundle, pictures: list[Pictures], converging_checkpoint: Path
) -> None:
    pytest.importorskip("torch")
    from geoflow_ros.bench.authors import TorchNetwork
    from geoflow_ros.model import load_checkpoint

    settings = IrsSettings(4, 3, 0.5)
    network = TorchNetwork(load_checkpoint(converging_checkpoint), bundle, pictures[0], settings)
    ticks: list[int] = []
    authors, slow = network.authors_way(1, 0, lambda: ticks.append(1))
    once, quick = network.encode_once(2)
    np.testing.assert_allclose(slow, quick, atol=1e-4)
    assert (authors.whole_frames, authors.passes, len(ticks)) == (1, 3, 3)  # one more was not counted
    assert authors.frame_ms > authors.pass_ms > 0.0
    assert once.new_ms > once.kept_ms
    assert once.frames == 2
    # the run-time path's answer too
    localizer = GeoFlowLocalizer(bundle, hypotheses=4, iterations=3, step=0.5)
    fix = localizer.localize(pictures[0].decode(), pictures[0].patch(bundle.manifest), stamp_ns=0)
    answer = fix.frame.enu_to_local(fix.position) / bundle.manifest.search_radius_m
    np.testing.assert_allclose(quick, answer, atol=1e-3)

    part, _ = network.authors_way(0, 2)
    assert (part.whole_frames, part.passes) == (0, 2)
    assert part.frame_ms == pytest.approx(3 * part.pass_ms)
