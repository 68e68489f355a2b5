"""Makes a model bundle of a checkpoint. Needs torch and onnx; nothing on the run-time path imports this."""

from geoflow_ros.export.bundle import export_bundle

__all__ = ["export_bundle"]
