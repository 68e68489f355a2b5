"""Weights on disk: ours (safetensors with JSON), float16 parts for a repository, and the authors' `.pth` files.

Nothing is unpickled but tensors and plain containers, and a file that is not of this network is refused with the
names that differ.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from geoflow_ros.bundle.methods import BIRDS_EYE, GEOFLOW
from geoflow_ros.errors import CheckpointError, InputError
from geoflow_ros.files import write_atomically
from geoflow_ros.model.birds_eye import BirdsEyeMatcher
from geoflow_ros.model.birds_eye_config import BirdsEyeConfig
from geoflow_ros.model.dense_flow import DenseFlow, DenseFlowConfig
from geoflow_ros.model.efficientnet import EfficientNetB0
from geoflow_ros.model.geoflow import GeoFlow, GeoFlowConfig

DENSE_FLOW = "dense_flow"
"""The method of a checkpoint that holds a matcher and the flow behind it."""

Network: TypeAlias = GeoFlow | BirdsEyeMatcher | DenseFlow
"""What a checkpoint may hold."""

FORMAT_VERSION = 1
MAX_PART_BYTES = 16_000_000

_PART_NAME = re.compile(r"weights-\d{5}-of-\d{5}\.safetensors")
_CONFIG_IN_FOLDER = "config.json"
_HEADER_BYTES_PER_TENSOR = 256  # more than safetensors' JSON entry for our longest name
_NAMES_IN_MESSAGE = 6


Config = TypeVar("Config", GeoFlowConfig, BirdsEyeConfig, DenseFlowConfig)


def method_of(path: str | Path) -> str:
    """Returns the method whose network a checkpoint holds; the authors' `.pth` hold GeoFlow's.

    Raises:
        CheckpointError: the JSON is missing or damaged, or names an unknown method.
    """
    description = _description_path(Path(path))
    method = GEOFLOW if description is None else _read_description(description).get("method", GEOFLOW)
    if method not in (GEOFLOW, BIRDS_EYE, DENSE_FLOW):
        raise CheckpointError(f"{path} is of the method {method!r}; known are {GEOFLOW}, {BIRDS_EYE} and {DENSE_FLOW}")
    return str(method)


def load_birds_eye(path: str | Path) -> BirdsEyeMatcher:
    """Loads the bird's-eye network stored at `path`, on the CPU, in float32 and in evaluation mode.

    Args:
        path: a `.safetensors` file of `save_checkpoint` (its `.json` beside it) or a folder of `save_float16_parts`.

    Raises:
        CheckpointError: the file cannot be read, or is not of this network; the message names the tensors.
    """
    path = Path(path)
    _require_method(path, BIRDS_EYE)
    tensors = _read_parts(path) if path.is_dir() else _read_safetensors(path)
    model = BirdsEyeMatcher(_config_of(path, BirdsEyeConfig))
    _load_exactly(model, tensors, str(path))
    return model.eval()


def load_dense_flow(path: str | Path) -> DenseFlow:
    """Loads the dense flow stored at `path` with its matcher, as `load_birds_eye` does.

    Raises:
        CheckpointError: the file cannot be read, or is not of this network; the message names the tensors.
    """
    path = Path(path)
    _require_method(path, DENSE_FLOW)
    tensors = _read_parts(path) if path.is_dir() else _read_safetensors(path)
    model = DenseFlow(_config_of(path, BirdsEyeConfig), _config_of(path, DenseFlowConfig, "flow"))
    _load_exactly(model, tensors, str(path))
    return model.eval()


def load_birds_eye_network(path: str | Path) -> BirdsEyeMatcher | DenseFlow:
    """Loads a checkpoint of the bird's-eye method, with dense flow or without, in evaluation mode.

    Raises:
        CheckpointError: as `load_birds_eye` and `load_dense_flow` raise it.
    """
    return load_dense_flow(path) if method_of(path) == DENSE_FLOW else load_birds_eye(path)


def load_checkpoint(path: str | Path) -> GeoFlow:
    """Loads the GeoFlow network stored at `path`, on the CPU, in float32 and in evaluation mode.

    Args:
        path: a `.safetensors` file of `save_checkpoint` (its `.json` beside it), a folder of
            `save_float16_parts`, or the authors' `.pth` (`{"model": state_dict, ...}` or a bare state dict).

    Raises:
        CheckpointError: the file cannot be read, or is not of this network; the message names the tensors.
    """
    path = Path(path)
    _require_method(path, GEOFLOW)
    if path.is_dir():
        config, tensors = _config_of(path, GeoFlowConfig), _read_parts(path)
    elif path.suffix == ".safetensors":
        config, tensors = _config_of(path, GeoFlowConfig), _read_safetensors(path)
    else:
        tensors = _read_pickled_tensors(path)
        has_orientation = any(name.startswith("decoder_orientation.") for name in tensors)
        config = GeoFlowConfig(predict_orientation=has_orientation)
    model = GeoFlow(config)
    _load_exactly(model, tensors, str(path))
    return model.eval()


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Reads what was stored with the weights of `save_checkpoint` or `save_float16_parts`; empty for `.pth`.

    Raises:
        CheckpointError: the JSON is missing or damaged.
    """
    description_path = _description_path(Path(path))
    if description_path is None:
        return {}
    metadata = _read_description(description_path).get("metadata", {})
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{path}: 'metadata' in its JSON must be an object")
    return metadata


def save_checkpoint(model: Network, path: str | Path, metadata: Mapping[str, Any] | None = None) -> Path:
    """Writes the weights to `path` (`.safetensors`) and the configuration to the `.json` beside it.

    Each file replaces its predecessor at once, so that a reader never sees half of one.

    Raises:
        CheckpointError: wrong suffix, or the folder cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: a checkpoint's name must end in .safetensors")
    write_file(path, save(_contiguous(model.state_dict())))
    write_file(path.with_suffix(".json"), _description(model, metadata))
    return path


def save_float16_parts(
    model: Network, folder: str | Path, metadata: Mapping[str, Any] | None = None, max_bytes: int = MAX_PART_BYTES
) -> list[Path]:
    """Writes the weights in half precision as `weights-0000i-of-0000n.safetensors`, each at most `max_bytes`.

    Raises:
        CheckpointError: a weight does not fit float16, a tensor does not fit a part, or the folder cannot be written.
    """
    folder = Path(folder)
    parts: list[dict[str, Tensor]] = [{}]
    used = 0
    for name, tensor in _contiguous(model.state_dict()).items():
        stored = tensor.to(torch.float16) if tensor.is_floating_point() else tensor
        if tensor.is_floating_point() and not torch.isfinite(stored).all():
            raise CheckpointError(f"{name} has values that float16 cannot hold; save the checkpoint in float32 instead")
        size = stored.numel() * stored.element_size() + _HEADER_BYTES_PER_TENSOR
        if size > max_bytes:
            raise CheckpointError(f"{name} takes {size} bytes; max_bytes is {max_bytes}: allow larger parts")
        if used + size > max_bytes:
            parts.append({})
            used = 0
        parts[-1][name] = stored
        used += size
    for stale in _part_paths(folder):
        stale.unlink()
    paths = []
    for number, part in enumerate(parts, start=1):
        paths.append(folder / _part_name(number, len(parts)))
        write_file(paths[-1], save(part))
    write_file(folder / _CONFIG_IN_FOLDER, _description(model, metadata))
    return paths


def load_imagenet(model: GeoFlow, path: str | Path) -> None:
    """Starts both encoders of `model` from ImageNet weights with timm's names (`.safetensors` or `.pth`).

    The classifier's own layers (`conv_head`, `bn2`, `classifier`) are not part of the encoder and are left out.

    Raises:
        CheckpointError: the file cannot be read, or is not an EfficientNet-B0; the message names the tensors.
    """
    path = Path(path)
    tensors = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickled_tensors(path)
    encoder = {
        name: tensor for name, tensor in tensors.items() if not name.startswith(("conv_head.", "bn2.", "classifier."))
    }
    for module in (model.sat_extractor, model.grd_extractor):
        _load_exactly(module, encoder, str(path))


def write_file(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}; choose a folder that can be written") from error


def _load_exactly(module: Network | EfficientNetB0, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Copies `tensors` into `module` if names, shapes and values are all right, else say which are not."""
    expected = module.state_dict()
    missing = [name for name in expected if name not in tensors]
    unexpected = [name for name in tensors if name not in expected]
    mismatched = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors
        and (tensors[name].shape != tensor.shape or tensors[name].is_floating_point() != tensor.is_floating_point())
    ]
    if missing or unexpected or mismatched:
        differences = "; ".join(
            f"{len(names)} {what}: {_enumerate(names)}"
            for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", mismatched))
            if names
        )
        raise CheckpointError(f"{origin} is not a checkpoint of this network ({differences})")
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise CheckpointError(f"{origin} holds values that are not finite in {_enumerate(broken)}")
    module.load_state_dict(dict(tensors))


def _enumerate(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_IN_MESSAGE])
    return shown if len(names) <= _NAMES_IN_MESSAGE else f"{shown}, and {len(names) - _NAMES_IN_MESSAGE} more"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error


def _read_pickled_tensors(path: Path) -> dict[str, Tensor]:
    """Reads the state dict of a file written by `torch.save`; no code in the file is run."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise CheckpointError(f"{path} is not a file of tensors that can be loaded safely: {reason}") from error
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path} holds no state dict, neither bare nor under 'model'")
    strangers = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if strangers:
        raise CheckpointError(f"{path} holds no state dict: {_enumerate(strangers)} are not tensors")
    return {str(name): tensor for name, tensor in content.items()}


def _part_name(number: int, count: int) -> str:
    return f"weights-{number:05d}-of-{count:05d}.safetensors"


def _part_paths(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("weights-*.safetensors") if _PART_NAME.fullmatch(path.name))


def _read_parts(folder: Path) -> dict[str, Tensor]:
    paths = _part_paths(folder)
    if not paths:
        raise CheckpointError(
            f"{folder} holds no weights-00001-of-0000n.safetensors; name a checkpoint file or a folder of such parts"
        )
    names = [path.name for path in paths]
    if names != [_part_name(number, len(names)) for number in range(1, len(names) + 1)]:
        raise CheckpointError(f"{folder} does not hold each part of its weights once: found {_enumerate(names)}")
    tensors: dict[str, Tensor] = {}
    for path in paths:
        for name, tensor in _read_safetensors(path).items():
            tensors[name] = tensor.to(torch.float32) if tensor.is_floating_point() else tensor
    return tensors


def _description(model: Network, metadata: Mapping[str, Any] | None) -> bytes:
    content: dict[str, Any] = {"format_version": FORMAT_VERSION, "method": GEOFLOW, "config": asdict(model.config)}
    if isinstance(model, BirdsEyeMatcher):
        content["method"] = BIRDS_EYE
    elif isinstance(model, DenseFlow):
        content |= {"method": DENSE_FLOW, "flow": asdict(model.flow_config)}
    content["metadata"] = dict(metadata or {})
    return (json.dumps(content, indent=2) + "\n").encode()


def _description_path(path: Path) -> Path | None:
    """Returns the file that describes a checkpoint; None for files that have no such file."""
    if path.is_dir():
        return path / _CONFIG_IN_FOLDER
    return path.with_suffix(".json") if path.suffix == ".safetensors" else None


def _require_method(path: Path, wanted: str) -> None:
    held = method_of(path)
    if held != wanted:
        raise CheckpointError(f"{path} is a checkpoint of the method {held}; here one of {wanted} is needed")


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; it belongs to the weights and holds their configuration") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(description, dict) or description.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(f"{path} is not a checkpoint description of format {FORMAT_VERSION}")
    return description


def _config_of(checkpoint: Path, kind: type[Config], key: str = "config") -> Config:
    path = _description_path(checkpoint)
    assert path is not None  # asked of our own formats only
    stored = _read_description(path).get(key)
    defaults = asdict(kind())
    if not isinstance(stored, dict) or set(stored) != set(defaults):
        raise CheckpointError(f"{path}: {key!r} must hold exactly {', '.join(defaults)}")
    for name, default in defaults.items():
        if isinstance(default, float) and type(stored[name]) is int:
            stored[name] = float(stored[name])
        if type(stored[name]) is not type(default):
            raise CheckpointError(f"{path}: {name} is {stored[name]!r}; it must be a {type(default).__name__}")
    try:
        return kind(**stored)
    except InputError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns copies on the CPU in standard memory order: safetensors stores nothing else."""
    return {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
