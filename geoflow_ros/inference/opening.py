"""The method that a bundle was made for, ready to localize."""

from __future__ import annotations

from geoflow_ros.backends import BackendOptions, open_backend, open_runner
from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.methods import BIRDS_EYE
from geoflow_ros.inference.birds_eye_localizer import BirdsEyeLocalizer
from geoflow_ros.inference.localizer import GeoFlowLocalizer
from geoflow_ros.inference.protocol import PatchLocalizer, SearchSettings


def open_localizer(
    bundle: Bundle, backend: BackendOptions | None = None, seed: int = 0, search: SearchSettings | None = None
) -> PatchLocalizer:
    """The bundle's method on a back end of this machine.

    Args:
        bundle: verified bundle.
        backend: what runs it; the defaults where None.
        seed: of whatever the method draws.
        search: how thoroughly to search; the bundle's defaults where None.

    Raises:
        InputError, BundleError: see `open_backend`, `open_runner` and the method.
    """
    search = search or SearchSettings()
    if bundle.manifest.method == BIRDS_EYE:
        return BirdsEyeLocalizer(bundle, open_runner(bundle, backend), search)
    return GeoFlowLocalizer(
        bundle, open_backend(bundle, backend), seed, search.hypotheses, search.iterations, search.step
    )
