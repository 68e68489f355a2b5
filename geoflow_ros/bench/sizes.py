"""A bundle's weights in graphs of another image size: speed depends on the size, accuracy on the training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from geoflow_ros.bench.temporary import temporary_folder
from geoflow_ros.bundle import Bundle, Manifest
from geoflow_ros.bundle.image_sizes import IMAGE_SIZES, ImageSize
from geoflow_ros.errors import InputError

MODEL = "model"
SIZES = (MODEL, *IMAGE_SIZES)


@contextmanager
def in_size(bundle: Bundle, size: str) -> Iterator[Bundle]:
    """Yields the bundle itself where it has that size, else one of the same weights, which is gone after the block.

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
    if size == MODEL or _size_of(manifest) == IMAGE_SIZES[size]:
        yield bundle
        return
    from geoflow_ros.backends.torch_network import network_of
    from geoflow_ros.export import export_bundle
    from geoflow_ros.model import GeoFlow, save_checkpoint

    wanted = IMAGE_SIZES[size]
    trained = network_of(bundle)
    config = replace(
        trained.config,
        satellite_size_px=wanted.satellite_px,
        ground_height_px=wanted.ground_height_px,
        ground_width_px=wanted.ground_width_px,
        ground_resolution_m=trained.config.ground_resolution_m * manifest.satellite.size_px / wanted.satellite_px,
    )
    resized = GeoFlow(config)
    resized.load_state_dict(trained.state_dict())
    with temporary_folder() as folder:
        checkpoint = save_checkpoint(resized.eval(), folder / "weights.safetensors")
        out = export_bundle(
            checkpoint,
            folder / manifest.name,
            calibration=manifest.calibration,
            irs=manifest.irs,
            camera=manifest.camera,
            with_checkpoint=True,
        )
        yield Bundle.load(out)


def _size_of(manifest: Manifest) -> ImageSize:
    return ImageSize(manifest.satellite.size_px, manifest.ground.height_px, manifest.ground.width_px)
