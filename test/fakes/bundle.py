"""A model bundle whose answers a test chooses by the colour of the picture.

Three small ONNX graphs with the interface of any other model. The mean of red says how far ahead of the patch's centre
the camera is (`GREY`: at the centre, 255: one and a half search radii), the mean of blue how uncertain that is (0:
hardly, 255: nothing is known). The satellite patch is cut and encoded, and says nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.bundle.bundle import Bundle, sha256_of
from geoflow_ros.bundle.calibration import Calibration
from geoflow_ros.bundle.irs_settings import IrsSettings
from geoflow_ros.bundle.manifest import CameraModel, GroundInput, Manifest, SatelliteInput
from geoflow_ros.bundle.methods import GRAPHS, expected_tensors
from geoflow_ros.bundle.tensors import GraphSpec, TensorSpec

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

GREY = 128
"""Red of a picture that the model takes for "at the centre of the patch"; brighter is further ahead."""
SATELLITE_PX = 128
GROUND_SHAPE = (64, 256)
"""Height and width of a picture, pixels."""

_FEATURES = 128
_TOKENS = (SATELLITE_PX // 32) ** 2
_WHITE = 255
_RADII_AT_WHITE = 1.5
_UNCERTAINTY_AT_WHITE = 3.0


def scenery(height: int, width: int, red: int, blue: int, number: int) -> UInt8Array:
    """A picture (height, width, 3) of one red and one blue, with a pattern in green, another for every number."""
    cells = np.random.default_rng(number).integers(30, 120, (8, 32)).astype(np.uint8)
    picture = np.empty((height, width, 3), np.uint8)
    picture[..., 0], picture[..., 2] = red, blue
    picture[..., 1] = cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST)
    return picture


_NODES = {
    "satellite_encoder": """
        real = Cast <to = 1> (satellite)
        mean = ReduceMean <axes = [2, 3], keepdims = 1> (real)
        one = ReduceMean <axes = [1], keepdims = 0> (mean)
        satellite_tokens = Mul (one, zero_tokens)
    """,
    "ground_encoder": """
        real = Cast <to = 1> (ground)
        colour = ReduceMean <axes = [1, 2], keepdims = 0> (real)
        mixed = MatMul (colour, features_of_colour)
        seen = Add (mixed, features_of_black)
        nothing = ReduceMean <axes = [1], keepdims = 0> (satellite_tokens)
        f_vis = Add (seen, nothing)
    """,
    "head": """
        answer = MatMul (f_vis, answer_of_features)
        answers = Unsqueeze (answer, axis_1)
        left = Sub (answers, hypotheses)
        squares = Mul (left, left)
        square = ReduceSum <keepdims = 1> (squares, last_axis)
        square_above_0 = Add (square, tiny)
        r = Sqrt (square_above_0)
        direction = Div (left, r)
        log_r = Log (r)
        mu_log_r = Squeeze (log_r, last_axis)
        moved = Mul (left, step)
        refined = Add (hypotheses, moved)
        uncertainty = MatMul (f_vis, uncertainty_of_features)
        zeros = Mul (mu_log_r, zero)
        uncertainties = Add (zeros, uncertainty)
        var_log_r = Add (uncertainties, least_variance)
        blur = Mul (uncertainties, blur_per_uncertainty)
        blur_above_1 = Add (blur, one)
        kappa = Div (greatest_kappa, blur_above_1)
    """,
}
"""What each graph computes, in ONNX's text form; each line is one node."""


def write_bundle(folder: Path, name: str = "colours", right: float = 0.0) -> Path:
    """Writes the bundle into a new folder `name` below `folder` and returns its path.

    Args:
        folder: that the bundle is made in.
        name: of the model.
        right: how far to the right of the patch's centre it says that every camera is, in search radii.
    """
    import onnx

    folder = folder / name
    folder.mkdir()
    specs = expected_tensors(SATELLITE_PX, *GROUND_SHAPE, _FEATURES, False)
    constants = _constants(right)
    for graph in GRAPHS:
        onnx.save(_model(graph, specs[graph], constants[graph]), folder / f"{graph}.onnx")
    (folder / "manifest.json").write_text(_manifest(folder, specs).to_json())
    return Bundle.load(folder).path


def _model(name: str, spec: GraphSpec, constants: dict[str, Any]) -> ModelProto:
    """A graph of `_NODES`, with the interface of `spec`."""
    from onnx import parser

    inputs, outputs = (", ".join(map(_declared, tensors)) for tensors in (spec.inputs, spec.outputs))
    nodes = _NODES[name].strip()
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {name} ({inputs}) => ({outputs}) {{{nodes}}}')
    model.graph.initializer.extend(_tensor(constant, value) for constant, value in constants.items())
    return model


def _declared(tensor: TensorSpec) -> str:
    kind = {"float32": "float"}.get(tensor.dtype, tensor.dtype)
    return f"{kind}[{','.join(map(str, tensor.shape))}] {tensor.name}"


def _tensor(name: str, value: Any) -> TensorProto:
    from onnx import numpy_helper

    array = np.asarray(value)
    return numpy_helper.from_array(array.astype(np.float32 if array.dtype.kind == "f" else np.int64), name)


def _constants(right: float) -> dict[str, dict[str, Any]]:
    """The numbers of each graph.

    Of the features of a picture, the first is distance ahead, the second uncertainty, the third distance to the right.
    """
    features_of_colour, features_of_black = np.zeros((3, _FEATURES)), np.zeros(_FEATURES)
    features_of_colour[0, 0] = _RADII_AT_WHITE / (_WHITE - GREY)
    features_of_black[0] = -GREY * features_of_colour[0, 0]
    features_of_black[2] = right
    features_of_colour[2, 1] = _UNCERTAINTY_AT_WHITE / _WHITE
    answer_of_features, uncertainty_of_features = np.zeros((_FEATURES, 2)), np.zeros((_FEATURES, 1))
    answer_of_features[2, 1] = 1.0
    answer_of_features[0, 0] = uncertainty_of_features[1, 0] = 1.0
    return {
        "satellite_encoder": {"zero_tokens": np.zeros((1, _TOKENS, _FEATURES))},
        "ground_encoder": {"features_of_colour": features_of_colour, "features_of_black": features_of_black},
        "head": {
            "answer_of_features": answer_of_features,
            "uncertainty_of_features": uncertainty_of_features,
            "axis_1": [1],
            "last_axis": [2],
            "tiny": 1e-10,
            "zero": 0.0,
            "one": 1.0,
            "least_variance": 0.01,
            "blur_per_uncertainty": 20.0,
            "greatest_kappa": 20.0,
        },
    }


def _manifest(folder: Path, specs: dict[str, GraphSpec]) -> Manifest:
    height, width = GROUND_SHAPE
    return Manifest(
        name=folder.name,
        satellite=SatelliteInput(SATELLITE_PX, 0.1958 * 512 / SATELLITE_PX),
        ground=GroundInput(height, width),
        camera=CameraModel("perspective", 90.0, width / height),
        search_radius_m=20.0,
        alignment="forward-x",
        direction_family="angmf",
        irs=IrsSettings(),
        calibration=Calibration(1.0, 1.0, 0.1, 0.1, 0, "none"),
        training={},
        figures={},
        tensors=specs,
        files={f"{name}.onnx": sha256_of(folder / f"{name}.onnx") for name in GRAPHS},
    )
