"""The network in torch: its configuration, its parts and its checkpoints."""

from geoflow_ros.model.checkpoint import (
    load_checkpoint,
    load_imagenet,
    read_metadata,
    save_checkpoint,
    save_float16_parts,
)
from geoflow_ros.model.geoflow import Displacement, GeoFlow, GeoFlowConfig, PairEncoding, normalize_images

__all__ = [
    "Displacement",
    "GeoFlow",
    "GeoFlowConfig",
    "PairEncoding",
    "load_checkpoint",
    "load_imagenet",
    "normalize_images",
    "read_metadata",
    "save_checkpoint",
    "save_float16_parts",
]
