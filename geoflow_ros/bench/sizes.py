"""A bundle's weights in graphs of another image size: speed depends on the size, accuracy on the training."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from geoflow_ros.bundle import Bundle
from geoflow_ros.errors import InputError

MODEL = "model"
_SIZES = {"full": (512, 256, 1024), "half": (256, 128, 512)}  # patch, height and width of the camera image, px
SIZES = (MODEL, *_SIZES)


@contextmanager
def in_size(bundle: Bundle, size: str) -> Iterator[Bundle]:
    """The bundle itself where it has that size, else one of the same weights, which is gone after the block.

    The patch covers the same ground in other pixels.

    Args:
        bundle: with its folder `checkpoint/`, where another size than its own is asked for.
        size: "full", "half", or "model" for the bundle's own.

    Raises:
        InputError: no such size, or no checkpoint.
        ModuleNotFoundError: what exports is not installed (extra [train]).
    """
    if size not in SIZES:
        raise InputError(f"size is '{size}'; it must be one of {', '.join(SIZES)}")
    manifest = bundle.manifest
    own = (manifest.satellite.size_px, manifest.ground.height_px, manifest.ground.width_px)
    if size == MODEL or own == _SIZES[size]:
        yield bundle
        return
    from geoflow_ros.backends.torch_backend import network_of
    from geoflow_ros.export import export_bundle
    from geoflow_ros.model import GeoFlow, save_checkpoint

    patch_px, height_px, width_px = _SIZES[size]
    trained = network_of(bundle)
    config = replace(
        trained.config,
        satellite_size_px=patch_px,
        ground_height_px=height_px,
        ground_width_px=width_px,
        ground_resolution_m=trained.config.ground_resolution_m * own[0] / patch_px,
    )
    resized = GeoFlow(config)
    resized.load_state_dict(trained.state_dict())
    with tempfile.TemporaryDirectory(prefix="geoflow-bench-") as temporary:
        checkpoint = save_checkpoint(resized.eval(), Path(temporary) / "weights.safetensors")
        out = export_bundle(
            checkpoint,
            Path(temporary) / manifest.name,
            calibration=manifest.calibration,
            irs=manifest.irs,
            camera=manifest.camera,
            with_checkpoint=True,
        )
        yield Bundle.load(out)
