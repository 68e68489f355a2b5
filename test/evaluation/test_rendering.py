"""Synthetic pairs from several processes."""

import numpy as np

from geoflow_ros.evaluation.rendering import BLOCK, render_pairs
from geoflow_ros.world import Area, HeadingError, PairSampler


def test_pairs_from_several_processes_are_the_same_and_in_order() -> None:
    def sampler() -> PairSampler:
        return PairSampler(Area.CROSS, 13, 64, (32, 128), 1.5664, 20.0, HeadingError())

    pairs = list(render_pairs(sampler(), BLOCK + 2))
    assert len(pairs) == BLOCK + 2
    for k in (0, BLOCK + 1):
        alone = sampler().pair(k)
        assert np.array_equal(pairs[k].ground, alone.ground)
        assert np.array_equal(pairs[k].satellite, alone.satellite)
