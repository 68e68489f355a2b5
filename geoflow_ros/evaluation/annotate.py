"""Writes what was measured on a bundle into its manifest: calibration and figures travel with the weights."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoflow_ros.bundle import Bundle, Calibration, Evidence, Manifest, PoseCalibrations, PrecisionCheck
from geoflow_ros.bundle.manifest import FILE_NAME
from geoflow_ros.errors import InputError


def store_calibration(bundle: Path, calibration: Calibration | PoseCalibrations) -> None:
    """Replaces the bundle's calibration.

    Raises:
        BundleError: not a bundle.
        InputError: the calibration is one of another method, or the manifest cannot be written.
    """
    opened = Bundle.load(bundle)
    manifest = opened.manifest
    if isinstance(calibration, PoseCalibrations) != (manifest.birds_eye is not None):
        raise InputError(f"the calibration is not one of the method of '{manifest.name}', {manifest.method}")
    if isinstance(calibration, Calibration):
        _write(opened, replace(manifest, calibration=calibration))
    elif manifest.birds_eye is not None:
        _write(opened, replace(manifest, birds_eye=replace(manifest.birds_eye, calibration=calibration)))


def store_evidence(bundle: Path, evidence: Evidence) -> None:
    """Replaces the bundle's evidence.

    Raises:
        BundleError: not a bundle.
        InputError: its manifest cannot be written.
    """
    opened = Bundle.load(bundle)
    _write(opened, replace(opened.manifest, evidence=evidence))


def store_figures(bundle: Path, name: str, figures: Mapping[str, Any]) -> None:
    """Adds figures under a name (such as "synthetic-same"), or replaces those of that name.

    Raises:
        BundleError: not a bundle.
        InputError: its manifest cannot be written.
    """
    opened = Bundle.load(bundle)
    _write(opened, replace(opened.manifest, figures={**opened.manifest.figures, name: dict(figures)}))


def store_precision_check(bundle: Path, check: PrecisionCheck) -> None:
    """Adds a check, in the place of an earlier one of the same precision.

    Raises:
        BundleError: not a bundle.
        InputError: its manifest cannot be written.
    """
    opened = Bundle.load(bundle)
    _write(opened, opened.manifest.with_check(check))


def _write(bundle: Bundle, manifest: Manifest) -> None:
    try:
        bundle.rewrite_manifest(manifest)
    except OSError as error:
        raise InputError(f"cannot write {bundle.path / FILE_NAME}: {error.strerror or error}") from None
