"""What a bundle answers to the pairs of a data set."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoflow_ros.backends import BackendOptions
from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.manifest import FORWARD_X
from geoflow_ros.errors import ImageError, InputError, TileMissingError
from geoflow_ros.evaluation.answers import Answers
from geoflow_ros.evaluation.datasets.labelled import LabelledPair, PairReader, PairSkippedError
from geoflow_ros.evaluation.tables import accuracy_table, consistency_table, papers_table
from geoflow_ros.inference import Fix, PatchLocalizer, open_localizer
from geoflow_ros.localization.camera_pictures import CameraPictures
from geoflow_ros.progress import progress_bar
from geoflow_ros.resources import model_path


@dataclass(frozen=True)
class DatasetReport:
    """The figures of one bundle on one split.

    Attributes:
        title: which pairs.
        model: name of the bundle.
        figures: with the fixed keys.
        measured: how many pairs.
        skipped: how many others, by reason.
    """

    title: str
    model: str
    figures: dict[str, Any]
    measured: int
    skipped: dict[str, int]

    def text(self) -> str:
        """The tables, in the form of the papers' first."""
        rows = {self.model: self.figures}
        counts = [f"{self.measured} pairs", *(f"{count} skipped ({reason})" for reason, count in self.skipped.items())]
        tables = (papers_table(rows), accuracy_table(rows), consistency_table(rows))
        return "\n\n".join([f"{self.title}: {', '.join(counts)}", *tables])

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "dataset": self.title,
            "model": self.model,
            "pairs": self.measured,
            "skipped": self.skipped,
            "figures": self.figures,
        }


def measure_dataset(
    model: str | Path,
    reader: PairReader,
    pairs: int | None = None,
    backend: BackendOptions | None = None,
    progress: bool = False,
) -> DatasetReport:
    """Asks a bundle about the pairs of a data set.

    Args:
        model: a bundle's folder or a shipped one's name.
        reader: of the pairs.
        pairs: how many of the split, evenly spread over it; all where None.
        backend: what runs the model.
        progress: show progress on standard error.

    Raises:
        BundleError: not a bundle.
        InputError: the bundle's patches, camera or range of headings are others, or no pair can be used.
    """
    bundle = Bundle.load(model_path(model))
    manifest = bundle.manifest
    if manifest.alignment != FORWARD_X or manifest.camera.model != "perspective":
        raise InputError(
            f"the pairs are forward-x with a perspective camera; '{manifest.name}' is {manifest.alignment} with a "
            f"{manifest.camera.model} camera"
        )
    localizer = open_localizer(bundle, backend)
    if reader.heading.stated_rad > localizer.max_heading_error_rad + 1e-9:
        raise InputError(
            f"the headings are up to {math.degrees(reader.heading.stated_rad):g}° wrong, and the model "
            f"'{manifest.name}' finds up to {math.degrees(localizer.max_heading_error_rad):g}°: choose another model"
        )
    camera, answers, skipped, last = CameraPictures(manifest), Answers(), Counter[str](), ""
    asked = range(len(reader)) if pairs is None else _spread(len(reader), pairs)
    with progress_bar(len(asked), reader.title, "pairs", is_shown=progress) as bar:
        for index in asked:
            try:
                pair = reader.pair(index, manifest)
                answers.add(pair, _answer(localizer, camera, pair, index, reader), pair.drive)
            except PairSkippedError as error:
                skipped[error.reason] += 1
                last = str(error)
            except (InputError, ImageError, TileMissingError) as error:
                skipped["refused"] += 1
                last = str(error)
            bar.update()
    if not answers.errors_m:
        raise InputError(f"{reader.title}: none of {len(asked)} pairs can be used; the last: {last}")
    return DatasetReport(reader.title, manifest.name, answers.figures(), len(answers.errors_m), dict(skipped))


def _answer(
    localizer: PatchLocalizer, camera: CameraPictures, pair: LabelledPair, index: int, reader: PairReader
) -> Fix:
    camera.calibrate(pair.intrinsics)
    shown = camera.warped(pair.ground, pair.mounting, pair.vehicle)
    localizer.forget()
    radius_m = min(reader.prior_radius_m, localizer.manifest.search_radius_m)
    return localizer.localize(shown.rgb, pair.patch, index, reader.heading.stated_rad, radius_m, shown.covered)


def _spread(count: int, wanted: int) -> list[int]:
    wanted = min(count, wanted)
    return [k * count // wanted for k in range(wanted)]
