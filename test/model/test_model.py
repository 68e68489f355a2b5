"""The network agrees with the authors' release, and works on any image size."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from geoflow_ros.arrays import Float32Array
from geoflow_ros.errors import InputError
from geoflow_ros.model import GeoFlow, GeoFlowConfig, normalize_images
from geoflow_ros.model.depthwise import DepthwiseConv2d
from geoflow_ros.model.geoflow import positional_encoding

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "upstream_seed7.npz")
TOLERANCE = 1e-4
SEED = 7


def golden_state(names: npt.NDArray[np.str_]) -> dict[str, torch.Tensor]:
    """The weights of the recipe in golden/README.md."""
    state = {}
    for line in names:
        name, shape_text = str(line).split(" ", 1)
        shape = tuple(int(size) for size in shape_text.strip("()").split(",") if size.strip())
        rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(1, dtype=torch.int64)
            continue
        if name.endswith("running_var"):
            values = rng.uniform(0.8, 1.2, shape)
        elif name.endswith("running_mean"):
            values = 0.05 * rng.standard_normal(shape)
        elif len(shape) == 1 and name.endswith(".weight"):
            values = rng.uniform(0.8, 1.2, shape)
        elif len(shape) == 1:
            values = 0.05 * rng.standard_normal(shape)
        else:
            gain = 2.2 if len(shape) == 4 else 2.0
            values = rng.standard_normal(shape) * np.sqrt(gain / np.prod(shape[1:]))
        state[name] = torch.from_numpy(values.astype(np.float32))
    return state


def golden_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng([SEED, 1])
    images = []
    for blocks in ((2, 16, 16, 3), (2, 8, 32, 3)):
        coarse = rng.integers(0, 256, blocks).repeat(32, axis=1).repeat(32, axis=2)
        noisy = coarse + rng.integers(-20, 21, coarse.shape)
        images.append(torch.from_numpy(np.clip(noisy, 0, 255).astype(np.uint8)))
    q = torch.from_numpy(rng.uniform(-1, 1, (2, 10, 2)).astype(np.float32))
    return images[0], images[1], q


def relative_error(answer: torch.Tensor, expected: Float32Array) -> float:
    difference = np.abs(answer.detach().numpy().reshape(expected.shape) - expected)
    return float(difference.max() / np.abs(expected).max())


@pytest.fixture(scope="module", params=["", "orient_"], ids=["plain", "orientation-aware"])
def released(request: pytest.FixtureRequest) -> tuple[GeoFlow, str]:
    prefix: str = request.param
    model = GeoFlow(GeoFlowConfig(predict_orientation=bool(prefix)))
    model.load_state_dict(golden_state(GOLDEN[f"{prefix}names"]))
    return model.eval(), prefix


@pytest.fixture(scope="module")
def golden_f_vis(released: tuple[GeoFlow, str]) -> torch.Tensor:
    satellite, ground, _ = golden_inputs()
    with torch.no_grad():
        return released[0].encode(normalize_images(satellite), normalize_images(ground))


def test_tensors_have_the_releases_names_and_count(released: tuple[GeoFlow, str]) -> None:
    model, prefix = released
    listed = [f"{name} {tuple(tensor.shape)}" for name, tensor in model.state_dict().items()]
    assert listed == [str(name) for name in GOLDEN[f"{prefix}names"]]
    assert sum(parameter.numel() for parameter in model.parameters()) == GOLDEN[f"{prefix}n_parameters"]


def test_parameter_counts_are_the_papers() -> None:
    counts = [
        sum(parameter.numel() for parameter in GeoFlow(GeoFlowConfig(predict_orientation=has)).parameters())
        for has in (False, True)
    ]
    assert counts == [7_377_493, 7_387_031]


def test_projected_features_agree_with_the_release() -> None:
    model = GeoFlow()
    model.load_state_dict(golden_state(GOLDEN["names"]))
    model.eval()
    satellite, ground, _ = golden_inputs()
    with torch.no_grad():
        satellite_features = model.sat_proj(model.satellite_features(normalize_images(satellite[:1])))
        ground_features = model.grd_proj(model.ground_features(normalize_images(ground[:1])))
    assert relative_error(satellite_features, GOLDEN["satellite_features"]) < TOLERANCE
    assert relative_error(ground_features, GOLDEN["ground_features"]) < TOLERANCE


def test_f_vis_agrees_with_the_release(released: tuple[GeoFlow, str], golden_f_vis: torch.Tensor) -> None:
    assert relative_error(golden_f_vis, GOLDEN[f"{released[1]}f_vis"]) < TOLERANCE


def test_head_agrees_with_the_release(released: tuple[GeoFlow, str], golden_f_vis: torch.Tensor) -> None:
    model, prefix = released
    answer = model.displace(golden_f_vis, golden_inputs()[2])
    assert relative_error(answer.mu_log_r, GOLDEN[f"{prefix}mu_log_r"]) < TOLERANCE
    assert relative_error(answer.var_log_r, GOLDEN[f"{prefix}var_log_r"]) < TOLERANCE
    assert relative_error(answer.kappa, GOLDEN[f"{prefix}kappa"]) < TOLERANCE
    direction = GOLDEN[f"{prefix}mu_direction"]
    unit = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    assert relative_error(answer.direction, unit) < TOLERANCE
    if prefix:
        assert answer.orientation is not None
        assert relative_error(answer.orientation, GOLDEN["orient_direction"]) < TOLERANCE
    else:
        assert answer.orientation is None


def test_five_refinements_follow_the_releases_path(released: tuple[GeoFlow, str], golden_f_vis: torch.Tensor) -> None:
    model, prefix = released
    path = [golden_inputs()[2]]
    with torch.no_grad():
        for _ in range(5):
            path.append(model.refine(golden_f_vis, path[-1], step=0.5))
    expected = GOLDEN[f"{prefix}path"]
    for refinement in range(6):  # each against its own size: the path grows
        assert relative_error(path[refinement], expected[refinement]) < TOLERANCE


@pytest.mark.parametrize(("satellite_px", "ground_px"), [(64, (32, 128)), (256, (128, 512)), (96, (64, 96))])
def test_any_size_in_multiples_of_32_works(satellite_px: int, ground_px: tuple[int, int]) -> None:
    model = GeoFlow().eval()
    with torch.no_grad():
        tokens = model.satellite_tokens(torch.randn(1, 3, satellite_px, satellite_px))
        f_vis = model.f_vis(torch.randn(1, 3, *ground_px), tokens)
    assert tokens.shape == (1, (satellite_px // 32) ** 2, 128)
    assert f_vis.shape == (1, 128)
    assert torch.isfinite(f_vis).all()


def test_pairs_that_share_images_equal_pairs_encoded_one_by_one() -> None:
    torch.manual_seed(3)
    model = GeoFlow().eval()
    satellite, ground = torch.randn(2, 3, 64, 64), torch.randn(3, 3, 32, 128)
    satellite_index, ground_index = torch.tensor([0, 1, 1, 0]), torch.tensor([2, 2, 0, 1])
    with torch.no_grad():
        pairs = model.attend_pairs(
            model.satellite_features(satellite), model.ground_features(ground), satellite_index, ground_index
        )
        singly = model.encode(satellite[satellite_index], ground[ground_index])
    torch.testing.assert_close(pairs.f_vis, singly, rtol=1e-4, atol=1e-5)
    assert pairs.attention.shape == (4, 4, 4)
    torch.testing.assert_close(pairs.attention.sum(-1), torch.ones(4, 4))


def test_attention_equals_pytorchs_averaged_over_its_queries() -> None:
    torch.manual_seed(0)
    ours = GeoFlow().cross_attention.eval()
    reference = torch.nn.MultiheadAttention(128, 4, batch_first=True).eval()
    reference.load_state_dict(ours.state_dict())
    queries, context = torch.randn(2, 12, 128), torch.randn(2, 7, 128)
    with torch.no_grad():
        keys, values = ours.keys_and_values(context)
        weights = ours.weights(ours.queries(queries), keys)
        expected, expected_weights = reference(queries, context, context, average_attn_weights=True)
        torch.testing.assert_close(ours.pooled(weights, values), expected.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weights.mean(1), expected_weights, rtol=1e-4, atol=1e-6)


def test_positional_encoding_tells_the_column_first_and_then_the_row() -> None:
    encoding = positional_encoding(2, 3, 128).reshape(2, 3, 128)
    torch.testing.assert_close(encoding[0, :, :64], encoding[1, :, :64])
    torch.testing.assert_close(encoding[:, 0, 64:], encoding[:, 2, 64:])
    assert encoding[0, 2, 0].item() == pytest.approx(math.sin(2.0), abs=1e-6)
    assert encoding[1, 0, 65].item() == pytest.approx(math.cos(1.0), abs=1e-6)


def test_directions_have_unit_length_and_uncertainties_are_positive() -> None:
    torch.manual_seed(1)
    answer = GeoFlow(GeoFlowConfig(predict_orientation=True)).eval().displace(torch.randn(3, 128), torch.randn(3, 5, 2))
    assert answer.mu_log_r.shape == answer.kappa.shape == (3, 5)
    torch.testing.assert_close(answer.direction.norm(dim=-1), torch.ones(3, 5))
    assert answer.orientation is not None
    torch.testing.assert_close(answer.orientation.norm(dim=-1), torch.ones(3, 5))
    assert (answer.var_log_r > 0).all()
    assert (answer.kappa > 0).all()


def test_images_are_normalised_as_the_recipe_says() -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 2, 3, 3), dtype=np.uint8))
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    expected = ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)
    torch.testing.assert_close(normalize_images(images), expected)


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_bfloat16_depthwise_gradients_agree_with_float32(kernel_size: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = DepthwiseConv2d(8, kernel_size, stride)
    wide = torch.randn(2, 8, 12, 16, requires_grad=True)
    narrow = wide.detach().to(torch.bfloat16).contiguous(memory_format=torch.channels_last).requires_grad_()
    reference = layer(wide)
    upstream = torch.randn_like(reference)
    (expected_weight,) = torch.autograd.grad(reference, layer.weight, upstream, retain_graph=True)
    (expected_input,) = torch.autograd.grad(reference, wide, upstream)
    answer = layer(narrow)
    weight_gradient, input_gradient = torch.autograd.grad(answer, (layer.weight, narrow), upstream.to(torch.bfloat16))
    torch.testing.assert_close(answer.float(), reference, rtol=0.02, atol=0.05)
    torch.testing.assert_close(input_gradient.float(), expected_input, rtol=0.02, atol=0.05)
    torch.testing.assert_close(weight_gradient, expected_weight, rtol=0.02, atol=0.15)


@pytest.mark.parametrize(
    "settings",
    [
        {"model_dim": 126},
        {"satellite_size_px": 500},
        {"ground_height_px": 0},
        {"dropout": 1.0},
        {"search_radius_m": 0.0},
        {"alignment": "south-up"},
        {"camera_model": "fisheye"},
    ],
)
def test_a_configuration_that_cannot_be_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        GeoFlowConfig(**settings)  # type: ignore[arg-type]
