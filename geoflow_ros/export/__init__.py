"""From a checkpoint to a model bundle. Needs torch and onnx; nothing on the run-time path imports this."""

from geoflow_ros.export.bundle import export_bundle

__all__ = ["export_bundle"]
