"""The training of `geoflow train`, on synthetic worlds, from options that a person gives."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from geoflow_ros.backends.cpu import has_bfloat16
from geoflow_ros.bundle.image_sizes import IMAGE_SIZES
from geoflow_ros.bundle.methods import GEOFLOW
from geoflow_ros.errors import InputError
from geoflow_ros.model import BirdsEyeConfig, GeoFlowConfig, Network
from geoflow_ros.model.checkpoint import read_metadata, save_float16_parts
from geoflow_ros.progress import progress_bar
from geoflow_ros.training.methods import METHODS, FirstWeights, Method, Pace, PairErrors
from geoflow_ros.training.pairs import PairBatch
from geoflow_ros.training.schedule import Schedule
from geoflow_ros.training.synthetic import SyntheticConfig, SyntheticPairs
from geoflow_ros.training.trainer import STATE_NAME, Trainer, TrainerConfig, TrainingResult
from geoflow_ros.world.conditions import EASY, conditions_named
from geoflow_ros.world.orthophoto_squares import open_collection
from geoflow_ros.world.orthophoto_windows import Orthophotos
from geoflow_ros.world.pairs import Area, HeadingError, Pair, PairSampler
from geoflow_ros.world.splits import Split

_SETTINGS_NAME = "data.json"
_CORES_BESIDE_BAKING = 3  # on a GPU: for the trainer, its batches and the system
_VALIDATION_BATCH = 16  # pairs


@dataclass(frozen=True)
class SyntheticTraining:
    """What `geoflow train --dataset synthetic` does.

    Attributes:
        out: the run's folder.
        method: one of `METHODS`.
        size: "half" (satellite 256 px, ground 128 x 512) or "full" (512 px, 256 x 1024).
        max_minutes: the end of the schedule, if it comes before `steps`.
        steps: the end of the schedule, if it comes before `max_minutes`.
        session_minutes: stop after that long and be resumed later.
        seed: of data, weights and draws.
        device: "cpu" or "cuda".
        groups: places per step; each gives two frames and two patches, all combined. None: the method's choice.
        town_share: part of the windows that are of the fixed town; the rest are new cities.
        conditions: how hard the pairs of training and validation are: "easy", "road" or "hard".
        photometric_share: part of the pictures of training and validation that are changed as by another camera. None:
            the method's choice.
        orthophotos: a collection of real orthophotos that a share of the training's windows is made of.
        learning_rate: the peak. None: the method's choice.
        workers: processes that bake windows of cities ahead. None: all but three cores for a GPU, else 0.
        validate_every: steps. None: the method's choice.
        validation_pairs: of each of the two areas.
        predict_orientation: with the orientation head.
        pretrained: a file with ImageNet weights under timm's names.
        init: a checkpoint to start from.
        resume: go on with the run in `out`.
        extend: with `resume`: the schedule may be another than the run's, such as a longer one.
        float16_parts: also write the weights as float16 in parts of at most 16 MB.
    """

    out: Path
    method: str = GEOFLOW
    size: str = "half"
    max_minutes: float | None = None
    steps: int | None = None
    session_minutes: float | None = None
    seed: int = 0
    device: str = "cpu"
    groups: int | None = None
    town_share: float = 0.5
    conditions: str = EASY.name
    photometric_share: float | None = None
    orthophotos: Orthophotos | None = None
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
        if self.method not in METHODS:
            raise InputError(f"method is {self.method!r}; it must be one of {', '.join(METHODS)}")
        if self.size not in IMAGE_SIZES:
            raise InputError(f"size is {self.size!r}; it must be one of {', '.join(IMAGE_SIZES)}")
        if not 0.0 <= self.town_share <= 1.0:
            raise InputError(f"town_share is {self.town_share}; it must be in [0, 1]")
        if self.photometric_share is not None and not 0.0 <= self.photometric_share <= 1.0:
            raise InputError(f"photometric_share is {self.photometric_share}; it must be in [0, 1]")
        conditions_named(self.conditions)
        if self.orthophotos is not None:
            if not 0.0 < self.orthophotos.share <= 1.0:
                raise InputError(f"the share of orthophotos is {self.orthophotos.share}; it must be in (0, 1]")
            open_collection(self.orthophotos.path).places_of(Split.TRAINING, self.orthophotos.held_out)
        if self.extend and not self.resume:
            raise InputError("extend is about a run that is resumed: give resume too, or leave it out")


def train_synthetic(options: SyntheticTraining) -> TrainingResult:
    """Trains until the schedule's end, the session's end or a signal.

    Raises:
        InputError: options that do not fit together or the machine, a run that is there already, or one that is to be
            resumed on other data.
        CheckpointError: nothing to resume, or weights that do not fit.
    """
    if not options.resume and (options.out / STATE_NAME).exists():
        raise InputError(f"{options.out} holds a training already: add --resume, or choose another folder")
    if options.resume:
        _require_same_method(options)
    method = METHODS[options.method]
    pace = method.gpu if _is_on_gpu(options) else method.cpu
    groups = options.groups or pace.groups
    config = _trainer_config(options, method, pace, groups)
    torch.manual_seed(options.seed)
    first = FirstWeights(options.init, options.pretrained, options.predict_orientation)
    model = method.network(IMAGE_SIZES[options.size], first)
    data = _data_config(options, method, pace, model.config, groups)
    source = SyntheticPairs(data, options.device)
    validation = _Validation(method, model.config, options, data.photometric_share)
    trainer = Trainer(config, model, source, validation, method.objective(model))
    if options.resume:
        trainer.resume(options.extend)
    _keep_data_settings(options, groups, data.photometric_share)
    try:
        result = trainer.run()
    finally:
        source.close()
    if options.float16_parts:
        save_float16_parts(method.load(result.best_checkpoint or result.last_checkpoint), options.out / "float16")
    return result


def _is_on_gpu(options: SyntheticTraining) -> bool:
    return torch.device(options.device).type == "cuda"


def _has_bfloat16(options: SyntheticTraining) -> bool:
    """Tells whether the encoders run in bfloat16, which a CPU without its instructions emulates many times slower."""
    return _is_on_gpu(options) or has_bfloat16()


def _baking_processes(options: SyntheticTraining) -> int:
    if options.workers is not None:
        return options.workers
    return max(1, (os.cpu_count() or 1) - _CORES_BESIDE_BAKING) if _is_on_gpu(options) else 0


def _trainer_config(options: SyntheticTraining, method: Method[Any], pace: Pace, groups: int) -> TrainerConfig:
    on_gpu = _is_on_gpu(options)
    return TrainerConfig(
        out=options.out,
        schedule=Schedule(
            peak=options.learning_rate or method.learning_rate(groups),
            steps=options.steps,
            max_minutes=options.max_minutes,
            warmup_steps=pace.warmup_steps,
        ),
        seed=options.seed,
        device=options.device,
        bfloat16=method.takes_bfloat16 and _has_bfloat16(options),
        compile=on_gpu,
        # A process that makes batches cannot have workers of its own; a thread can.
        prefetch_processes=0 if on_gpu or _baking_processes(options) else 1,
        session_minutes=options.session_minutes,
        validate_every=options.validate_every or pace.validate_every,
        attribution=_attribution(options),
        save_every=pace.save_every,
        **method.trainer,
    )


def _attribution(options: SyntheticTraining) -> tuple[str, ...]:
    """Returns what must be said of the pictures that the weights were trained on, before this training and in it."""
    lines = [] if options.init is None else list(read_metadata(options.init).get("attribution", []))
    if options.orthophotos is not None:
        collection = open_collection(options.orthophotos.path)
        lines.append(collection.attribution or f"orthophotos of {collection.name}")
    return tuple(dict.fromkeys(lines))


def _data_config(
    options: SyntheticTraining, method: Method[Any], pace: Pace, model: GeoFlowConfig | BirdsEyeConfig, groups: int
) -> SyntheticConfig:
    return SyntheticConfig(
        seed=options.seed,
        satellite_size=model.satellite_size_px,
        ground_size=(model.ground_height_px, model.ground_width_px),
        ground_resolution_m=model.ground_resolution_m,
        search_radius_m=model.search_radius_m,
        groups=groups,
        town_share=options.town_share,
        conditions=conditions_named(options.conditions),
        orthophotos=options.orthophotos,
        pool=pace.pool,
        windows_per_batch=pace.windows_per_batch,
        workers=_baking_processes(options),
        **_method_data(options, method),
    )


def _method_data(options: SyntheticTraining, method: Method[Any]) -> dict[str, Any]:
    """Returns the method's choices for `SyntheticConfig`, with what the options say instead."""
    given = {} if options.photometric_share is None else {"photometric_share": options.photometric_share}
    return {"photometric_share": SyntheticConfig.photometric_share, **method.data, **given}


def _require_same_method(options: SyntheticTraining) -> None:
    """Refuses to resume a run of the other method, whose state is of another network."""
    try:
        kept = json.loads((options.out / _SETTINGS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # what is missing or damaged is found when the run's state is read
    method = kept.get("method", GEOFLOW)
    if method != options.method:
        raise InputError(f"{options.out} holds a training of the method {method}, not {options.method}")


def _keep_data_settings(options: SyntheticTraining, groups: int, photometric_share: float) -> None:
    """Writes what decides the data beside the run; a resumed run must have the same, or it would see other worlds."""
    path, photos = options.out / _SETTINGS_NAME, options.orthophotos
    settings = {
        "method": options.method,
        "size": options.size,
        "seed": options.seed,
        "groups": groups,
        "town_share": options.town_share,
        "conditions": options.conditions,
        "photometric_share": photometric_share,
        "orthophotos": None if photos is None else [photos.path, photos.share, *photos.held_out],
    }
    of_older_runs = {"method": GEOFLOW, "conditions": EASY.name, "photometric_share": 0.0, "orthophotos": None}
    try:
        if options.resume and path.exists():
            kept = of_older_runs | json.loads(path.read_text(encoding="utf-8"))
            differing = [f"{name} was {kept.get(name)}" for name, value in settings.items() if kept.get(name) != value]
            if differing:
                raise InputError(f"{options.out} cannot be resumed with other data: {', '.join(differing)}")
        options.out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings) + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read or written: {error}") from None


class _Validation:
    """Figures on worlds of the validation split: the town under other appearances, and cities that training never sees.

    The pairs are rendered once and kept.
    """

    def __init__(
        self,
        method: Method[Any],
        config: GeoFlowConfig | BirdsEyeConfig,
        options: SyntheticTraining,
        photometric_share: float,
    ) -> None:
        self._method = method
        self._config, self._pairs, self._device = config, options.validation_pairs, options.device
        self._encoder_dtype = torch.bfloat16 if _has_bfloat16(options) else torch.float32
        self._conditions = conditions_named(options.conditions)
        self._photometric_share = photometric_share
        self._batches: dict[Area, list[PairBatch]] = {}

    def __call__(self, model: Network, is_stopping: Callable[[], bool]) -> Mapping[str, float] | None:
        """Returns the errors' figures by area, and `mean_error_m` over both; None if the training is to stop."""
        figures: dict[str, float] = {}
        means = []
        for area in Area:
            batches = self._batches_of(area, is_stopping)
            until_stopped = itertools.takewhile(lambda _: not is_stopping(), batches or [])
            errors = self._method.errors(model, until_stopped, self._encoder_dtype)
            if is_stopping():
                return None
            means.append(float(errors.position_m.norm(dim=1).mean()))
            figures |= {f"{area.value}_{name}": value for name, value in _figures(errors).items()}
        return {"mean_error_m": sum(means) / len(means), **figures}

    def _batches_of(self, area: Area, is_stopping: Callable[[], bool]) -> list[PairBatch] | None:
        """Returns an area's pairs, rendered at the first time; None if the training is to stop meanwhile."""
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
                self._conditions,
                self._photometric_share,
            )
            pairs: list[Pair] = []
            with progress_bar(self._pairs, f"rendering validation ({area.value} area)", "pairs", leave=False) as bar:
                while len(pairs) < self._pairs:
                    if is_stopping():
                        return None
                    pairs.append(sampler.pair(len(pairs)))
                    bar.update()
            step = _VALIDATION_BATCH
            self._batches[area] = [
                _joined(pairs[i : i + step], c.search_radius_m, self._device) for i in range(0, len(pairs), step)
            ]
        return self._batches[area]


def _figures(errors: PairErrors) -> dict[str, float]:
    """Returns an area's figures under the evaluation's keys."""
    distance = errors.position_m.norm(dim=1)
    figures = {
        "mean_error_m": float(distance.mean()),
        "median_error_m": float(distance.median()),
        "lateral_mean_error_m": float(errors.position_m[:, 1].abs().mean()),
        "longitudinal_mean_error_m": float(errors.position_m[:, 0].abs().mean()),
        "recall_1m": float((distance < 1.0).float().mean()),
        "recall_5m": float((distance < 5.0).float().mean()),
    }
    if errors.turn_rad is not None:
        figures["yaw_mean_error_deg"] = math.degrees(float(errors.turn_rad.abs().mean()))
        figures["yaw_median_error_deg"] = math.degrees(float(errors.turn_rad.abs().median()))
    if errors.before is not None:
        figures |= {f"before_{name}": value for name, value in _figures(errors.before).items()}
    return figures


def _joined(pairs: list[Pair], radius_m: float, device: str) -> PairBatch:
    """Makes a batch of pairs that share no images."""
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
        camera=stack(
            [np.array((p.camera.horizon_row_px, p.camera.height_m, p.camera.roll_rad), np.float32) for p in pairs]
        ),
    )
