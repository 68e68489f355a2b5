"""What runs a bundle's graphs: onnxruntime, OpenVINO, TensorRT or torch, behind one protocol."""

from geoflow_ros.backends.choice import open_backend
from geoflow_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from geoflow_ros.backends.options import BACKENDS, PRECISIONS, BackendOptions
from geoflow_ros.backends.protocol import Backend, FrameOutput, HeadOutput

__all__ = [
    "BACKENDS",
    "PRECISIONS",
    "Backend",
    "BackendOptions",
    "FrameOutput",
    "HeadOutput",
    "OnnxRuntimeBackend",
    "open_backend",
]
