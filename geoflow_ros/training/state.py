"""Everything that a training needs to go on where it was, in one file of tensors with its counters as JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from geoflow_ros.errors import CheckpointError
from geoflow_ros.model.checkpoint import write_file

FORMAT_VERSION = 1
_HEADER_KEY = "geoflow_trainer"
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass
class Counters:
    """How far a training is.

    Random draws need no state: they follow from the seed and the step's number.
    """

    step: int = 0  # steps taken, skipped ones included; also the number of the next batch
    elapsed_s: float = 0.0  # over all sessions
    pairs: int = 0
    skipped: int = 0  # steps whose loss or gradient was not finite
    best_error_m: float | None = None


def save_state(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.AdamW,
    parameter_names: Mapping[nn.Parameter, str],
    counters: Counters,
    settings: Mapping[str, Any],
) -> None:
    """Writes a training's state in one step, so that there is never half of one.

    Args:
        path: the file.
        modules: what is trained or averaged, by name.
        optimizer: its moments are stored under the parameters' names.
        parameter_names: of every parameter of the optimizer.
        counters: how far the training is.
        settings: what the training's result depends on; a training with others must not go on from this file.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for prefix, module in modules.items():
        tensors.update({f"{prefix}/{name}": tensor for name, tensor in module.state_dict().items()})
    for parameter, name in parameter_names.items():
        moments = optimizer.state.get(parameter, {})  # nothing before the first step
        tensors.update({f"optimizer/{name}/{key}": moments[key] for key in moments})
    header = {"format_version": FORMAT_VERSION, "counters": asdict(counters), "settings": dict(settings)}
    stored = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    write_file(path, save(stored, metadata={_HEADER_KEY: json.dumps(header)}))


def load_state(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.AdamW,
    parameter_names: Mapping[nn.Parameter, str],
    settings: Mapping[str, Any],
    may_differ: Collection[str] = (),
) -> Counters:
    """Puts a training back where `save_state` left it; arguments as there. Settings in `may_differ` may differ.

    Raises:
        CheckpointError: the file is missing, damaged, of other settings or of another network; the message says which.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER_KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist; there is no training to resume in that folder") from error
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable training state: {error}") from error
    if not isinstance(header, dict) or header.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(f"{path} is not a training state of format {FORMAT_VERSION}")
    _require_same_settings(path, header["settings"], settings, may_differ)
    try:
        for prefix, module in modules.items():
            module.load_state_dict(_below(tensors, f"{prefix}/"))
        for parameter, name in parameter_names.items():
            moments = _below(tensors, f"optimizer/{name}/")
            if moments:
                optimizer.state[parameter] = _moments_like(parameter, moments)
        return Counters(**header["counters"])
    except (RuntimeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path} is the state of another network: {reason}") from error


def _moments_like(parameter: nn.Parameter, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the moments in the parameter's own memory order: the fused optimizer walks them in storage order."""
    moments = {key: torch.empty_like(parameter, requires_grad=False).copy_(stored[key]) for key in _MOMENTS}
    return {"step": stored["step"].to(parameter.device), **moments}


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _require_same_settings(
    path: Path, stored: Mapping[str, Any], given: Mapping[str, Any], may_differ: Collection[str]
) -> None:
    given = json.loads(json.dumps(given))  # tuples become lists, as in the file
    names = [name for name in sorted({*stored, *given} - {*may_differ}) if stored.get(name) != given.get(name)]
    if names:
        listed = ", ".join(f"{name} was {stored.get(name)!r} and is {given.get(name)!r}" for name in names)
        raise CheckpointError(f"{path} belongs to a training with other settings: {listed}")
