"""The stress sets as a picture: a question of each, and what was said to all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.visualization.plots import pyplot, save_figure

_HONEST, _BEYOND = "#56b4e9", "#d55e00"


def stress_picture(
    title: str,
    sets: Mapping[str, Mapping[str, Any]],
    examples: Mapping[str, tuple[UInt8Array, UInt8Array]],
    path: Path,
) -> None:
    """Draws every set: image, patch, and a bar of how much is published, the part beyond its 99.9 % ellipse marked.

    Args:
        title: of the whole.
        sets: the figures of each, by name, as `geoflow evaluate stress` has them.
        examples: an image (H, W, 3) and a patch (P, P, 3) of each, forward along the patch's columns.
        path: of the PNG.

    Raises:
        InputError: matplotlib is not installed, or the place cannot be written.
    """
    names = list(sets)
    figure, axes = pyplot().subplots(
        len(names), 3, figsize=(11.0, 0.95 * len(names)), width_ratios=(3.2, 0.9, 2.4), squeeze=False
    )
    for (image, patch, bar), name in zip(axes, names, strict=True):
        found, example = sets[name], examples[name]
        image.imshow(example[0])
        patch.imshow(np.rot90(example[1]))  # forward up
        for picture in (image, patch):
            picture.set(xticks=[], yticks=[])
        image.set_ylabel(name.replace("_", " "), rotation=0, ha="right", va="center", fontsize=8)
        published = 100.0 * found["published"]
        beyond = published * (found["beyond_999"] or 0.0)
        bar.barh(0, published - beyond, color=_HONEST)
        bar.barh(0, beyond, left=published - beyond, color=_BEYOND)
        said = "nothing answered" if found["mean_error_m"] is None else f"{found['mean_error_m']:.1f} m"
        if found["sigma_m"] is not None:
            said += f", says {found['sigma_m']:.1f} m"
        bar.text(101, 0, said, va="center", fontsize=7)
        bar.set(xlim=(0, 100), yticks=[], xticks=[0, 50, 100] if name == names[-1] else [])
        for side in ("top", "right", "left"):
            bar.spines[side].set_visible(False)
    axes[0][2].set_title("published %, orange: beyond their 99.9 % ellipse", fontsize=8, loc="left")
    figure.suptitle(title, fontsize=10, y=0.91)
    save_figure(figure, path)
