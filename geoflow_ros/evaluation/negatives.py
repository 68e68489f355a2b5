"""Whether a localizer notices the patch of another place: each image on its own patch and on one of another world."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.backends import BackendOptions
from geoflow_ros.backends.options import ONNXRUNTIME
from geoflow_ros.evaluation.metrics import auroc
from geoflow_ros.evaluation.rendering import render_pairs
from geoflow_ros.evaluation.synthetic import Protocol, answer_to, camera_of, loaded, sampler_for
from geoflow_ros.evaluation.tables import share, table
from geoflow_ros.inference import SearchSettings, open_localizer
from geoflow_ros.world.pairs import PAIRS_PER_WINDOW


@dataclass(frozen=True)
class NegativesReport:
    """How a model tells the right place from another.

    Attributes:
        model: the bundle's name.
        images: how many; each was asked about twice.
        right_is_better: share of the images whose quality is higher on the right patch; equal ones count half.
        auroc: that of any right answer against any wrong one.
        rejected_wrong: share of the wrong patches that the localizer itself does not trust its answer on.
        rejected_right: likewise of the right ones.
    """

    model: str
    images: int
    right_is_better: float
    auroc: float
    rejected_wrong: float
    rejected_right: float

    def text(self) -> str:
        """Formats the table that the command prints."""
        rows = [
            ["right patch has the higher quality %", share(self.right_is_better), "100"],
            ["AUROC of the quality, right against wrong %", share(self.auroc), "100"],
            ["wrong patches rejected %", share(self.rejected_wrong), "100"],
            ["right patches rejected %", share(self.rejected_right), "0"],
        ]
        return table([f"{self.model}, {self.images} images on a patch of another place", "measured", "best"], rows)

    def as_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return dict(self.__dict__)


def measure_negatives(
    model: str | Path, protocol: Protocol, *, backend: BackendOptions | None = None, progress: bool = False
) -> NegativesReport:
    """Asks a bundle about every image twice: with its own patch, and with that of a pair of the world before.

    Args:
        model: a bundle's folder or a shipped one's name.
        protocol: whose `pairs` images are asked about; one world's more are rendered for their patches.
        backend: what runs the bundle; onnxruntime in float32 where None.
        progress: show a progress bar on standard error.

    Raises:
        GeoFlowError: a bundle that cannot be used.
    """
    bundle = loaded(model)
    search = SearchSettings(camera=camera_of(protocol))
    localizer = open_localizer(bundle, backend or BackendOptions(ONNXRUNTIME), search=search)
    sampler = sampler_for(bundle.manifest, protocol)
    earlier = []  # patches of the world before
    qualities, trusted = [], []  # of (right, wrong)
    count = protocol.pairs + PAIRS_PER_WINDOW
    for index, pair in enumerate(render_pairs(sampler, count, bundle.manifest.name, progress)):
        earlier.append(pair.satellite)
        if index < PAIRS_PER_WINDOW:
            continue
        asked = [replace(pair, satellite=satellite) for satellite in (earlier[-1], earlier.pop(0))]
        answers = [answer_to(localizer, one, index, protocol).assessment for one in asked]
        qualities.append([answer.quality for answer in answers])
        trusted.append([answer.trustworthy for answer in answers])
    right, wrong = np.array(qualities).T
    scores, labels = np.concatenate([right, wrong]), np.arange(2 * len(right)) < len(right)
    rejected_right, rejected_wrong = 1.0 - np.mean(trusted, axis=0)
    return NegativesReport(
        model=bundle.manifest.name,
        images=len(right),
        right_is_better=float(np.mean(right > wrong) + np.mean(right == wrong) / 2.0),
        auroc=float(auroc(scores, labels) or 0.0),
        rejected_wrong=float(rejected_wrong),
        rejected_right=float(rejected_right),
    )
