"""What runs a bundle's graphs: onnxruntime, OpenVINO, TensorRT or torch, behind one protocol."""

from geoflow_ros.backends.choice import open_backend
from geoflow_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from geoflow_ros.backends.options import BACKENDS, PRECISIONS, BackendOptions
from geoflow_ros.backends.protocol import Backend, FrameOutput, GraphRunner, HeadOutput
from geoflow_ros.backends.runners import open_runner

__all__ = [
    "BACKENDS",
    "PRECISIONS",
    "Backend",
    "BackendOptions",
    "FrameOutput",
    "GraphRunner",
    "HeadOutput",
    "OnnxRuntimeBackend",
    "open_backend",
    "open_runner",
]
