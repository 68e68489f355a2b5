"""Dense flow as an ONNX graph: onnxruntime gives what torch gives, with its iterations unrolled."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training is an extra")
onnxruntime = pytest.importorskip("onnxruntime")

from fakes.ground_cells import TINY_BIRDS_EYE, scene  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from geoflow_ros.model.birds_eye_encoders import GroundCells, SatelliteCells  # noqa: E402
from geoflow_ros.model.dense_flow import DenseFlow, DenseFlowConfig, flow_from_zero  # noqa: E402

OPSET = 18
TOLERANCE = 1e-4
TINY_FLOW = DenseFlowConfig(fine_reach=4, coarse_reach=3, hidden=6, motion=8, iterations=2)
CONFIGS = {"mode": TINY_FLOW, "zero": flow_from_zero(TINY_BIRDS_EYE, replace(TINY_FLOW, radius=2))}


class _Decoder(nn.Module):
    """The decoder from its features, as a graph of its own."""

    def __init__(self, config: DenseFlowConfig) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.model = DenseFlow(TINY_BIRDS_EYE, config)
        for part in self.model.decoder.head[-1].parameters():
            nn.init.normal_(part, std=0.3)

    def forward(
        self, fine: Tensor, coarse: Tensor, seen_fine: Tensor, seen_coarse: Tensor, trust: Tensor, context: Tensor,
        start: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        ground = GroundCells(seen_fine, seen_coarse, trust, trust, context)
        answer = self.model(SatelliteCells(fine, coarse), ground, start)
        return answer.flow[-1], answer.confidence[-1], answer.pose, answer.covariance


@pytest.mark.parametrize("start", CONFIGS)
def test_the_decoder_is_exported_as_it_is(start: str, tmp_path: Path) -> None:
    module = _Decoder(CONFIGS[start]).eval()
    patch, seen = scene(module.model.matcher, (5.0, -3.0), 4.0)
    context = torch.randn(seen.context.shape, generator=torch.Generator().manual_seed(1))
    pose = torch.tensor([[3.0, -4.0, 0.2]])
    inputs = (patch.fine, patch.coarse, seen.fine, seen.coarse, seen.coarse_confidence, context, pose)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = module(*inputs)
        program = torch.onnx.export(module, inputs, dynamo=True, opset_version=OPSET, verbose=False)
    assert program is not None
    program.save(str(tmp_path / "flow.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "flow.onnx"), providers=["CPUExecutionProvider"])
    given = dict(zip(["fine", "coarse", "seen_fine", "seen_coarse", "trust", "context", "start"], inputs, strict=True))
    names = [entry.name for entry in session.get_inputs()]
    found = session.run(None, {name: given[name].numpy() for name in names})
    for value, tensor in zip(found, wanted, strict=True):
        assert tensor.abs().max() > 1e-3
        assert np.abs(value - tensor.numpy()).max() < TOLERANCE * max(1.0, float(tensor.abs().max()))
    operators = {node.op_type for node in program.model_proto.graph.node}
    assert not operators & {"Loop", "If", "Scan", "NonZero", "GatherND", "ScatterND"}
