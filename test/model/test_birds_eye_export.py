"""The bird's-eye network as an ONNX graph: onnxruntime gives what torch gives."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training is an extra")
onnxruntime = pytest.importorskip("onnxruntime")

from fakes.ground_cells import tiny_matcher  # noqa: E402
from torch import Tensor, nn  # noqa: E402

OPSET = 18
TOLERANCE = 1e-4
PARTS = ("satellite fine", "satellite coarse", "ground fine", "ground coarse", "coarse scores", "fine scores")


class _Whole(nn.Module):
    """Both encoders and both levels of matching, with the features between them as outputs too."""

    def __init__(self) -> None:
        super().__init__()
        self.model = tiny_matcher()

    def forward(
        self, satellite: Tensor, ground: Tensor, turn_rad: Tensor, centre_cells: Tensor, window_turn_rad: Tensor
    ) -> tuple[Tensor, ...]:
        cells, seen = self.model.satellite(satellite), self.model.ground(ground)
        coarse = self.model.coarse_scores(cells, seen, turn_rad)
        fine = self.model.fine_scores(cells, seen, centre_cells, window_turn_rad)
        return cells.fine, cells.coarse, seen.fine, seen.coarse, coarse, fine


def test_the_network_is_exported_as_it_is(tmp_path: Path) -> None:
    module = _Whole().eval()
    generator = torch.Generator().manual_seed(0)
    turns = torch.tensor([[-0.1, 0.01, 0.12]])
    inputs = (
        torch.randn((1, 3, 64, 64), generator=generator),
        torch.randn((1, 3, 32, 128), generator=generator),
        turns,
        torch.tensor([[[2.0, -4.0], [0.0, 6.0]]]),
        torch.stack((turns, turns + 0.05), dim=1),
    )
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = module(*inputs)
        program = torch.onnx.export(module, inputs, dynamo=True, opset_version=OPSET, verbose=False)
    assert program is not None
    program.save(str(tmp_path / "whole.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "whole.onnx"), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    found = session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})
    for name, value, tensor in zip(PARTS, found, wanted, strict=True):
        assert tensor.abs().max() > 1e-3, name
        assert np.abs(value - tensor.numpy()).max() < TOLERANCE, name
    operators = {node.op_type for node in program.model_proto.graph.node}
    assert not operators & {"DFT", "STFT", "Loop", "If", "NonZero"}
