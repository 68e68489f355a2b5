"""The networks in torch: their configurations, their parts and their checkpoints."""

from geoflow_ros.model.birds_eye import BirdsEyeMatcher
from geoflow_ros.model.birds_eye_config import BirdsEyeConfig
from geoflow_ros.model.checkpoint import (
    Network,
    load_birds_eye,
    load_checkpoint,
    load_dense_flow,
    load_imagenet,
    method_of,
    read_metadata,
    save_checkpoint,
    save_float16_parts,
)
from geoflow_ros.model.dense_flow import DenseFlow, DenseFlowConfig
from geoflow_ros.model.geoflow import Displacement, GeoFlow, GeoFlowConfig, PairEncoding, normalize_images

__all__ = [
    "BirdsEyeConfig",
    "BirdsEyeMatcher",
    "DenseFlow",
    "DenseFlowConfig",
    "Displacement",
    "GeoFlow",
    "GeoFlowConfig",
    "Network",
    "PairEncoding",
    "load_birds_eye",
    "load_checkpoint",
    "load_dense_flow",
    "load_imagenet",
    "method_of",
    "normalize_images",
    "read_metadata",
    "save_checkpoint",
    "save_float16_parts",
]
