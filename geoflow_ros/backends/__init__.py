"""What runs a bundle's graphs: onnxruntime, OpenVINO, TensorRT or torch, behind one protocol."""

from geoflow_ros.backends.choice import BACKENDS, PRECISIONS, BackendOptions, open_backend
from geoflow_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
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
