"""Bundles on NVIDIA GPUs: engines of TensorRT or TensorRT-RTX, run through cuda-python, without torch and onnx."""
