"""The method that a bundle was made for, ready to localize."""

from __future__ import annotations

from geoflow_ros.backends import BackendOptions, open_backend
from geoflow_ros.bundle import Bundle
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
        InputError, BundleError: see `open_backend` and the method.
    """
    search = search or SearchSettings()
    return GeoFlowLocalizer(
        bundle, open_backend(bundle, backend), seed, search.hypotheses, search.iterations, search.step
    )
