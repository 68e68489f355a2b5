"""Figures without a display: matplotlib where it is installed, and a place for what was drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geoflow_ros.errors import InputError

DPI = 110


def pyplot() -> Any:
    """`matplotlib.pyplot`, drawing to files.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise InputError("pictures need matplotlib: pip install 'geoflow_ros[plots]'") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def save_figure(figure: Any, path: Path) -> None:
    """Writes a figure, by the path's suffix, and forgets it. Missing folders are made.

    Raises:
        InputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=DPI, bbox_inches="tight")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}): choose another place") from None
    finally:
        pyplot().close(figure)
