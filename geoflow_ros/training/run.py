"""`geoflow train`: a training on synthetic worlds, from options that a person gives."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from geoflow_ros.errors import InputError
from geoflow_ros.model import GeoFlow, GeoFlowConfig, load_checkpoint
from geoflow_ros.model.checkpoint import load_imagenet, save_float16_parts
from geoflow_ros.training.evaluate import evaluate_pairs
from geoflow_ros.training.pairs import PairBatch
from geoflow_ros.training.schedule import Schedule
from geoflow_ros.training.synthetic import SyntheticConfig, SyntheticPairs
from geoflow_ros.training.trainer import STATE_NAME, Trainer, TrainerConfig, TrainingResult
from geoflow_ros.world.kinds import LABELS
from geoflow_ros.world.pairs import Area, HeadingError, Pair, PairSampler
from geoflow_ros.world.splits import Split

_EXTENT_M = 512 * 0.1958  # side of a patch, whatever its pixels
_SETTINGS_NAME = "data.json"
_SIZES = {"half": (256, (128, 512)), "full": (512, (256, 1024))}


@dataclass(frozen=True)
class SyntheticTraining:
    """What ``geoflow train --dataset synthetic`` does.

    Attributes:
        out: the run's folder.
        size: "half" (satellite 256 px, ground 128 x 512) or "full" (512 px, 256 x 1024).
        max_minutes, steps: the end of the schedule, whichever comes first.
        session_minutes: stop after that long and be resumed later.
        groups: places per step; each gives two frames and two patches, all combined. None: 8 on a CPU, 128 on a GPU.
        town_share: part of the windows that are of the fixed town; the rest are new cities.
        learning_rate: the peak. None: 1e-3 for up to 16 groups, growing with the square root beyond.
        predict_orientation: with the orientation head.
        pretrained: a file with ImageNet weights under timm's names.
        init: a checkpoint to start from.
        resume: go on with the run in ``out``.
        extend: with ``resume``: the schedule may be another than the run's, such as a longer one.
        float16_parts: also write the weights as float16 in parts of at most 16 MB.
    """

    out: Path
    size: str = "half"
    max_minutes: float | None = None
    steps: int | None = None
    session_minutes: float | None = None
    seed: int = 0
    device: str = "cpu"
    groups: int | None = None
    town_share: float = 0.5
    learning_rate: float | None = None
    workers: int | None = None
    validate_every: int | None = None
    validation_pairs: int = 96
    predict_orientation: bool = False
    pretrained: Path | None = None
    init: Path | None = None
    resume: bool = False
    extend: bool = False
    float16_parts: bool = False

    def __post_init__(self) -> None:
        if self.size not in _SIZES:
            raise InputError(f"size is {self.size!r}; it must be one of {', '.join(_SIZES)}")
        if not 0.0 <= self.town_share <= 1.0:
            raise InputError(f"town_share is {self.town_share}; it must be in [0, 1]")
        if self.extend and not self.resume:
            raise InputError("extend is about a run that is resumed: give resume too, or leave it out")


def train_synthetic(options: SyntheticTraining) -> TrainingResult:
    """Train until the schedule's end, the session's end or a signal.

    Raises:
        InputError: options that do not fit together or the machine, a run that is there already, or one that is to be
            resumed on other data.
        CheckpointError: nothing to resume, or weights that do not fit.
    """
    on_gpu = torch.device(options.device).type == "cuda"
    if not options.resume and (options.out / STATE_NAME).exists():
        raise InputError(f"{options.out} holds a training already: add --resume, or choose another folder")
    satellite_size, ground_size = _SIZES[options.size]
    resolution = round(_EXTENT_M / satellite_size, 4)
    groups = options.groups or (128 if on_gpu else 8)
    rate = options.learning_rate or 1e-3 * max(1.0, (groups / 16) ** 0.5)
    config = TrainerConfig(
        out=options.out,
        schedule=Schedule(
            peak=rate, steps=options.steps, max_minutes=options.max_minutes, warmup_steps=100 if not on_gpu else 500
        ),
        seed=options.seed,
        satellite_classes=LABELS,
        ground_classes=LABELS,
        device=options.device,
        compile=on_gpu,
        prefetch_processes=0 if on_gpu else 1,
        session_minutes=options.session_minutes,
        validate_every=options.validate_every or (2000 if on_gpu else 250),
        save_every=1000 if on_gpu else 100,
    )
    torch.manual_seed(options.seed)
    model = _model(options, satellite_size, ground_size, resolution)
    cores = os.cpu_count() or 1
    source = SyntheticPairs(
        SyntheticConfig(
            seed=options.seed,
            satellite_size=satellite_size,
            ground_size=ground_size,
            ground_resolution_m=resolution,
            search_radius_m=model.config.search_radius_m,
            groups=groups,
            town_share=options.town_share,
            pool=128 if on_gpu else 4,
            windows_per_batch=0.5 if on_gpu else 0.1,
            workers=options.workers if options.workers is not None else (max(1, cores - 3) if on_gpu else 0),
        ),
        options.device,
    )
    trainer = Trainer(config, model, source, _Validation(model.config, options))
    if options.resume:
        trainer.resume(options.extend)
    _keep_data_settings(options, groups)
    try:
        result = trainer.run()
    finally:
        source.close()
    if options.float16_parts:
        save_float16_parts(load_checkpoint(result.best_checkpoint or result.last_checkpoint), options.out / "float16")
    return result


def _keep_data_settings(options: SyntheticTraining, groups: int) -> None:
    """Writes what decides the data beside the run; a resumed run must have the same, or it would see other worlds."""
    path = options.out / _SETTINGS_NAME
    settings = {"size": options.size, "seed": options.seed, "groups": groups, "town_share": options.town_share}
    try:
        if options.resume and path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            differing = [f"{name} was {kept.get(name)}" for name, value in settings.items() if kept.get(name) != value]
            if differing:
                raise InputError(f"{options.out} cannot be resumed with other data: {', '.join(differing)}")
        options.out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings) + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read or written: {error}") from None


def _model(options: SyntheticTraining, satellite_size: int, ground_size: tuple[int, int], resolution: float) -> GeoFlow:
    if options.init is not None and options.pretrained is not None:
        raise InputError("init and pretrained both set the first weights; give one of them")
    config = GeoFlowConfig(
        predict_orientation=options.predict_orientation,
        satellite_size_px=satellite_size,
        ground_height_px=ground_size[0],
        ground_width_px=ground_size[1],
        ground_resolution_m=resolution,
    )
    model = GeoFlow(config)
    if options.init is not None:
        model.load_state_dict(load_checkpoint(options.init).state_dict())
    if options.pretrained is not None:
        load_imagenet(model, options.pretrained)
    return model


class _Validation:
    """Figures on worlds of the validation split: the town under other appearances, and cities that training never sees.

    The pairs are rendered once and kept.
    """

    def __init__(self, config: GeoFlowConfig, options: SyntheticTraining) -> None:
        self._config, self._pairs, self._device = config, options.validation_pairs, options.device
        self._batches: dict[Area, list[PairBatch]] = {}

    def __call__(self, model: GeoFlow) -> Mapping[str, float]:
        figures: dict[str, float] = {}
        means = []
        for area in Area:
            errors = evaluate_pairs(
                model, self._of(area), radius_m=self._config.search_radius_m, encoder_dtype=torch.bfloat16
            )
            means.append(float(errors.norm(dim=1).mean()))
            figures |= {
                f"{area.value}_mean_error_m": means[-1],
                f"{area.value}_median_error_m": float(errors.norm(dim=1).median()),
                f"{area.value}_lateral_mean_error_m": float(errors[:, 1].abs().mean()),
                f"{area.value}_longitudinal_mean_error_m": float(errors[:, 0].abs().mean()),
            }
        return {"mean_error_m": sum(means) / len(means), **figures}

    def _of(self, area: Area) -> list[PairBatch]:
        if area not in self._batches:
            c = self._config
            sampler = PairSampler(
                area,
                0,
                c.satellite_size_px,
                (c.ground_height_px, c.ground_width_px),
                c.ground_resolution_m,
                c.search_radius_m,
                HeadingError(),
                Split.VALIDATION,
            )
            pairs = [sampler.pair(i) for i in range(self._pairs)]
            self._batches[area] = [
                _joined(pairs[i : i + 16], c.search_radius_m, self._device) for i in range(0, len(pairs), 16)
            ]
        return self._batches[area]


def _joined(pairs: list[Pair], radius_m: float, device: str) -> PairBatch:
    index = torch.arange(len(pairs), device=device)

    def stack(arrays: Sequence[npt.ArrayLike]) -> torch.Tensor:
        return torch.from_numpy(np.stack(arrays)).to(device)

    return PairBatch(
        satellite=stack([p.satellite for p in pairs]),
        ground=stack([p.ground for p in pairs]),
        satellite_index=index,
        ground_index=index,
        offset=stack([(p.offset_m / radius_m).astype(np.float32) for p in pairs]),
        heading_error_rad=stack([np.float32(p.heading_error_rad) for p in pairs]),
    )
