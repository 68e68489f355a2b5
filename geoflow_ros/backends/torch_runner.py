"""A bird's-eye bundle's network in torch itself, run as its graphs are: by name, inputs and outputs on the host."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoflow_ros.backends.torch_backend import on_device, torch_device
from geoflow_ros.backends.torch_network import checkpoint_of
from geoflow_ros.bundle.bundle import Bundle
from geoflow_ros.bundle.precision import FLOAT32
from geoflow_ros.errors import BundleError
from geoflow_ros.model import BirdsEyeMatcher, DenseFlow
from geoflow_ros.model.birds_eye_graphs import birds_eye_module, tensors_of
from geoflow_ros.model.checkpoint import load_birds_eye_network


class TorchRunner:
    """Runs the graphs of the bird's-eye method in torch, in float32.

    Args:
        weights: a bundle with its folder `checkpoint/`, or the network itself, which is copied.
        device: "cpu", "cuda", "cuda:1", …
        threads: of torch on the CPU, for the whole process; torch's own choice where None.

    Raises:
        InputError: the bundle came without checkpoint, or no such device.
        BundleError: the checkpoint has other bytes or another geometry than the manifest says.
        CheckpointError: the checkpoint cannot be read, or is of another method.
        BackendError: it does not fit the device's memory.
    """

    def __init__(
        self, weights: Bundle | BirdsEyeMatcher | DenseFlow, device: str = "cpu", threads: int | None = None
    ) -> None:
        on = torch_device(device)
        if on.type == "cuda":
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False
        if threads is not None:
            torch.set_num_threads(threads)
        model = _network_of(weights) if isinstance(weights, Bundle) else copy.deepcopy(weights)
        self._tensors = tensors_of(model)
        with on_device(on):
            model = model.eval().to(on)
            self._modules = {graph: birds_eye_module(model, graph) for graph in self._tensors}
        self._device = on
        where = torch.cuda.get_device_name(on) if on.type == "cuda" else "CPU"
        self._name = f"torch {torch.__version__} {where} {FLOAT32}"

    @property
    def name(self) -> str:
        """Engine, version, device and precision."""
        return self._name

    @property
    def precision(self) -> str:
        """That of the checkpoint as it is loaded."""
        return FLOAT32

    def run(self, graph: str, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `GraphRunner.run`."""
        spec = self._tensors[graph]
        with on_device(self._device):
            inputs = [torch.tensor(feed[tensor.name], device=self._device) for tensor in spec.inputs]
            outputs = self._modules[graph](*inputs)
            outputs = (outputs,) if isinstance(outputs, torch.Tensor) else outputs
            return {
                tensor.name: np.array(values.cpu().numpy(), np.float32)
                for tensor, values in zip(spec.outputs, outputs, strict=True)
            }


def _network_of(bundle: Bundle) -> BirdsEyeMatcher | DenseFlow:
    model = load_birds_eye_network(checkpoint_of(bundle))
    geometry = bundle.manifest.geometry
    if any(getattr(model.config, name) != value for name, value in vars(geometry).items()):
        raise BundleError(f"{bundle.path} was made for another geometry than its checkpoint: export the bundle again")
    return model
