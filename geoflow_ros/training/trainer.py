"""The training: batches in, checkpoints out, to be stopped and resumed at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from geoflow_ros.errors import GeoFlowError, InputError
from geoflow_ros.memory import keep_freed_memory
from geoflow_ros.model import GeoFlow, Network, save_checkpoint
from geoflow_ros.training.auxiliary import DenseHeads
from geoflow_ros.training.ema import MovingAverage
from geoflow_ros.training.hypotheses import HypothesisSampling
from geoflow_ros.training.log import TrainingLog
from geoflow_ros.training.losses import LossWeights
from geoflow_ros.training.objective import Objective, StepFigures
from geoflow_ros.training.pairs import PairBatch, PairSource
from geoflow_ros.training.prefetch import BatchStream
from geoflow_ros.training.schedule import Schedule
from geoflow_ros.training.state import Counters, load_state, save_state
from geoflow_ros.training.statistics import GoodStatistics
from geoflow_ros.training.stopping import StopRequest, signals_postponed

BEST_NAME, LAST_NAME, STATE_NAME = "best.safetensors", "last.safetensors", "trainer_state.safetensors"
CHOSEN_BY = "mean_error_m"
_BETA1, _BETA2 = 0.9, 0.999  # of AdamW


NetworkT = TypeVar("NetworkT", bound=Network)
Measured = TypeVar("Measured", bound=Network, contravariant=True)


class StepObjective(Protocol):
    """What a training step minimises."""

    def __call__(self, batch: PairBatch, generator: torch.Generator) -> StepFigures:
        """Computes the loss of a batch; `generator` draws what is random about it and is on the batch's device."""
        ...


class Validation(Protocol[Measured]):
    """What measures the averaged network."""

    def __call__(self, model: Measured, is_stopping: Callable[[], bool]) -> Mapping[str, float] | None:
        """Returns figures of a network in evaluation mode, among them `CHOSEN_BY`.

        A validation that takes long asks `is_stopping` now and then; if the training is to stop it may leave off and
        return None.
        """
        ...


class TrainingError(GeoFlowError):
    """A training that cannot go on."""


@dataclass(frozen=True)
class TrainerConfig:
    """How to train. The fields down to `label_cells` decide the result; the others only how the work is done.

    Attributes:
        out: the run's folder.
        schedule: learning rate and end.
        hypotheses: how guesses are drawn.
        loss_weights: of the losses besides the displacement's.
        weight_decay: of AdamW; norms, biases and other one-dimensional tensors have none.
        gradient_clip: largest norm of the gradient.
        beta2: of AdamW: how long it averages the gradients' squares.
        ema_decay: of the moving average that is validated and kept.
        seed: of hypotheses and dropout.
        bfloat16: run the encoders under autocast.
        satellite_classes: of the dense labels of satellite patches; 0 trains without.
        ground_classes: of those of camera images; likewise.
        label_cells: labels per side of a token (32 px).
        device: "cpu" or "cuda".
        compile: compile the encoders (minutes at the start; worth it on a GPU).
        channels_last: memory order of the encoders' tensors.
        prefetch_processes: processes that make batches; 0 makes them in a thread of this one.
        prefetch_ahead: batches made ahead.
        threads: of the CPU; None leaves PyTorch's choice.
        session_minutes: stop after that long, saved, to be resumed.
        log_every: steps between two entries of the log.
        validate_every: steps between two validations.
        save_every: steps between two saves.
        max_skipped: give up after so many steps in a row whose loss or gradient is not finite.
        attribution: lines that whoever gives the weights away must give along, for the pictures they were trained on.
        is_progress_shown: whether progress is shown while it runs.
    """

    out: Path
    schedule: Schedule
    hypotheses: HypothesisSampling = field(default_factory=HypothesisSampling)
    loss_weights: LossWeights = field(default_factory=LossWeights)
    weight_decay: float = 0.03
    gradient_clip: float = 2.0
    beta2: float = _BETA2
    ema_decay: float = 0.999
    seed: int = 0
    bfloat16: bool = True
    satellite_classes: int = 0
    ground_classes: int = 0
    label_cells: int = 4
    device: str = "cpu"
    compile: bool = False
    channels_last: bool = True
    prefetch_processes: int = 0
    prefetch_ahead: int = 3
    threads: int | None = None
    session_minutes: float | None = None
    log_every: int = 20
    validate_every: int = 1000
    save_every: int = 500
    max_skipped: int = 50
    attribution: tuple[str, ...] = ()
    is_progress_shown: bool = True

    def __post_init__(self) -> None:
        if min(self.log_every, self.validate_every, self.save_every, self.max_skipped) < 1:
            raise InputError("log_every, validate_every, save_every and max_skipped must be at least 1")
        if not self.gradient_clip > 0.0 or self.weight_decay < 0.0 or not _are_decays(self.ema_decay, self.beta2):
            raise InputError("gradient_clip must be positive, weight_decay >= 0, ema_decay and beta2 in [0, 1)")
        if torch.device(self.device).type == "cuda" and not torch.cuda.is_available():
            raise InputError(f"device is {self.device!r}, and PyTorch finds no GPU; use device 'cpu'")

    def decisive_settings(self) -> dict[str, Any]:
        """Returns what the result depends on: a resumed training must have the same."""
        names = ("schedule", "hypotheses", "loss_weights", "weight_decay", "gradient_clip", "ema_decay", "seed",
                 "bfloat16", "satellite_classes", "ground_classes", "label_cells")  # fmt: skip
        settings = {name: value for name, value in asdict(self).items() if name in names}
        # runs from before this could be set have none: they go on as they are
        return settings if self.beta2 == _BETA2 else {**settings, "beta2": self.beta2}


@dataclass(frozen=True)
class TrainingResult:
    """How a session ended.

    Attributes:
        step: steps taken, over all sessions.
        pairs: pairs seen.
        elapsed_s: time spent.
        is_finished: False if the training is to be resumed.
        best_error_m: the least validation error; None if nothing was validated.
        last_checkpoint: weights of the moving average at the end.
        best_checkpoint: those of the least error, if there are any.
    """

    step: int
    pairs: int
    elapsed_s: float
    is_finished: bool
    best_error_m: float | None
    last_checkpoint: Path
    best_checkpoint: Path | None


class Trainer(Generic[NetworkT]):
    """Trains one network.

    Args:
        config: how.
        model: the network; it is moved to the device and trained in place.
        source: the pairs. `source.batch(i)` is the batch of step `i`; only the trainer may call it meanwhile.
        validation: figures of the averaged network; the checkpoint with the least `CHOSEN_BY` is kept as the best.
        objective: what is minimised, of this very network; GeoFlow's where None.
    """

    def __init__(
        self,
        config: TrainerConfig,
        model: NetworkT,
        source: PairSource,
        validation: Validation[NetworkT] | None = None,
        objective: StepObjective | None = None,
    ) -> None:
        self.config, self._source, self._validation = config, source, validation
        self._device = torch.device(config.device)
        self._prepare_device()
        torch.manual_seed(config.seed)  # the dense heads' start
        memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
        self.model = model.to(self._device).to(memory_format=memory_format).train()  # type: ignore[call-overload]
        heads = DenseHeads(config.satellite_classes, config.ground_classes, config.label_cells)
        self._heads = heads.to(self._device).to(memory_format=memory_format).train()  # type: ignore[call-overload]
        self._average = MovingAverage(self.model, config.ema_decay)
        self._modules: dict[str, nn.Module] = {
            "model": self.model, "average": self._average.model, "heads": self._heads,
        }  # fmt: skip
        self._parameters = {
            parameter: f"{prefix}.{name}"
            for prefix, module in (("model", self.model), ("heads", self._heads))
            for name, parameter in module.named_parameters()
        }
        self._optimizer = _adamw(list(self._parameters), config)
        self._objective = objective or self._geoflow_objective()
        self._generator = torch.Generator(self._device)
        self._statistics = GoodStatistics(self.model)
        self.counters = Counters()
        self._consecutive_skips = torch.zeros((), device=self._device)
        self._stop = StopRequest()

    def resume(self, other_schedule: bool = False) -> None:
        """Goes on from the state in the run's folder.

        Args:
            other_schedule: the schedule may be another than the run's, such as a longer one; the learning rate then
                follows it from where the run stands.

        Raises:
            CheckpointError: there is none, or it is of another training; the message says what differs. The machine may
                differ, and with it the precision.
        """
        self.counters = load_state(
            self.config.out / STATE_NAME, self._modules, self._optimizer, self._parameters,
            self.config.decisive_settings(), may_differ=("bfloat16", "schedule") if other_schedule else ("bfloat16",),
        )  # fmt: skip
        self._statistics.remember()

    def run(self) -> TrainingResult:
        """Trains until the schedule's or the session's end, or until SIGINT or SIGTERM; each time the state is saved.

        Raises:
            TrainingError: too many steps in a row were not finite.
            CheckpointError: the run's folder cannot be written.
        """
        config, counters = self.config, self.counters
        with ExitStack() as stack:
            log = TrainingLog(config.out, counters.step, counters.elapsed_s, config.schedule, config.is_progress_shown)
            session = _Session(stack.enter_context(closing(log)), counters.elapsed_s)
            with self._stop.on_signals():
                if not self._is_over():
                    stream = BatchStream(
                        self._source, counters.step, self._device, config.prefetch_processes, config.prefetch_ahead
                    )
                    self._take_steps(stack.enter_context(closing(stream)), session)
                is_finished = self._finish(session)
        best = config.out / BEST_NAME
        return TrainingResult(
            step=counters.step,
            pairs=counters.pairs,
            elapsed_s=counters.elapsed_s,
            is_finished=is_finished,
            best_error_m=counters.best_error_m,
            last_checkpoint=config.out / LAST_NAME,
            best_checkpoint=best if counters.best_error_m is not None and best.exists() else None,
        )

    def _take_steps(self, batches: BatchStream, session: _Session) -> None:
        """Trains until there is a reason to end, with reports, validations and saves on the way."""
        config, counters = self.config, self.counters
        while not self._is_over() and not self._is_to_pause(session):
            batch = batches.next_unless(lambda: self._stop.is_made)
            if batch is None:
                return
            rate = config.schedule.learning_rate(counters.step, counters.elapsed_s)
            session.window.add(self._step(batch, rate), len(batch.offset))
            counters.step += 1
            counters.pairs += len(batch.offset)
            counters.elapsed_s = session.elapsed_s()
            if counters.step % config.log_every == 0:
                self._report(session, rate)
            session.log.advance(counters.step, counters.elapsed_s)
            if counters.step % config.validate_every == 0:
                self._validate(session)
            if counters.step % config.save_every == 0:
                self._save()

    def _is_over(self) -> bool:
        """Tells whether the schedule has ended."""
        return self.config.schedule.is_over(self.counters.step, self.counters.elapsed_s)

    def _is_to_pause(self, session: _Session) -> bool:
        """Tells whether this session ends before the schedule does."""
        limit_minutes = self.config.session_minutes
        return self._stop.is_made or (limit_minutes is not None and session.duration_s() >= 60.0 * limit_minutes)

    def _finish(self, session: _Session) -> bool:
        """Reports and saves what the session reached; returns whether the training is finished."""
        is_finished = self._is_over()
        if session.window.steps:
            self._report(session, self.config.schedule.learning_rate(self.counters.step, self.counters.elapsed_s))
        if is_finished and session.validated_step != self.counters.step:
            is_finished = self._validate(session)
        self._save()
        return is_finished

    def _step(self, batch: PairBatch, learning_rate: float) -> dict[str, Tensor]:
        """Takes one step. Nothing in here waits for the device: a bad step is skipped on the device itself."""
        seed = (self.config.seed * 1_000_003 + self.counters.step) % 2**63
        torch.manual_seed(seed)  # dropout
        self._generator.manual_seed(seed)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        figures = self._objective(batch, self._generator)
        figures.loss.backward()
        norm = nn.utils.clip_grad_norm_(list(self._parameters), self.config.gradient_clip, foreach=True)
        is_finite = torch.isfinite(norm) & torch.isfinite(figures.loss.detach())
        # The fused optimizer leaves everything as it is where this is 1: the protocol of torch.amp.GradScaler.
        self._optimizer.found_inf = (~is_finite).to(torch.float32)  # type: ignore[attr-defined]
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._statistics.keep_if(is_finite)
        self._average.update(self.counters.step)
        self._consecutive_skips = torch.where(is_finite, 0.0, self._consecutive_skips + 1.0)
        parts = {**figures.parts, "gradient_norm": norm.detach()}
        counted = {name: torch.where(is_finite, value, 0.0) for name, value in parts.items()}
        return {**counted, "finite_steps": is_finite.to(torch.float32)}

    def _report(self, session: _Session, learning_rate: float) -> None:
        """Logs the means since the last report; the only place where the training waits for the device."""
        window, session.window = session.window, _LogWindow()
        figures, finite_steps = window.means()
        self.counters.skipped += window.steps - finite_steps
        consecutive = int(self._consecutive_skips.item())
        speed = window.pairs / max(1e-9, time.monotonic() - window.start_s)
        session.log.write(
            self.counters.step,
            self.counters.elapsed_s,
            "training",
            {
                **figures,
                "learning_rate": learning_rate,
                "pairs": self.counters.pairs,
                "pairs_per_second": round(speed, 3),
                "skipped_steps": self.counters.skipped,
            },
        )
        if consecutive >= self.config.max_skipped:
            raise TrainingError(
                f"the last {consecutive} steps had a loss or gradient that is not finite; resume the last checkpoint "
                "with a lower learning rate, or look at the data"
            )

    def _validate(self, session: _Session) -> bool:
        """Measures the average and keeps it if it is the best; returns False if that was interrupted by a stop."""
        session.validated_step = self.counters.step
        if self._validation is None:
            return True
        self._average.tensors()
        measured = self._validation(self._average.model, lambda: self._stop.is_made)
        if measured is None:
            return False
        figures = dict(measured)
        session.log.write(self.counters.step, self.counters.elapsed_s, "validation", figures)
        if CHOSEN_BY not in figures:
            raise InputError(f"the validation gave no {CHOSEN_BY}, by which the best checkpoint is chosen")
        error = figures[CHOSEN_BY]
        if math.isfinite(error) and (self.counters.best_error_m is None or error < self.counters.best_error_m):
            self.counters.best_error_m = error
            with signals_postponed():
                save_checkpoint(self._average.model, self.config.out / BEST_NAME, self._metadata(figures))
        return True

    def _save(self) -> None:
        self._average.tensors()
        with signals_postponed():
            save_checkpoint(self._average.model, self.config.out / LAST_NAME, self._metadata(None))
            save_state(
                self.config.out / STATE_NAME, self._modules, self._optimizer, self._parameters, self.counters,
                self.config.decisive_settings(),
            )  # fmt: skip

    def _metadata(self, figures: Mapping[str, float] | None) -> dict[str, Any]:
        counters, settings = asdict(self.counters), self.config.decisive_settings()
        metadata: dict[str, Any] = {"counters": counters, "settings": settings}
        metadata |= {"attribution": self.config.attribution} if self.config.attribution else {}
        return {**metadata, "validation": dict(figures)} if figures is not None else metadata

    def _geoflow_objective(self) -> Objective:
        config = self.config
        if not isinstance(self.model, GeoFlow):
            raise InputError("a network of another method than GeoFlow is trained with an objective of its own")
        dtype = torch.bfloat16 if config.bfloat16 else torch.float32
        return Objective(self.model, self._heads, config.hypotheses, config.loss_weights, dtype, config.compile)

    def _prepare_device(self) -> None:
        if self.config.threads is not None:
            torch.set_num_threads(self.config.threads)
        if self._device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32 outside the encoders
            torch.backends.cudnn.allow_tf32 = True
            torch.backends.cudnn.benchmark = True
        else:
            keep_freed_memory()


class _LogWindow:
    """Sums of figures since the last report, on the device."""

    def __init__(self) -> None:
        self.start_s = time.monotonic()
        self.steps = 0
        self.pairs = 0
        self._sums: dict[str, Tensor] = {}

    def add(self, figures: Mapping[str, Tensor], pairs: int) -> None:
        self.steps += 1
        self.pairs += pairs
        for name, value in figures.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value

    def means(self) -> tuple[dict[str, float], int]:
        """Returns the means over the steps that were finite, and how many these were."""
        values = dict(zip(self._sums, torch.stack(list(self._sums.values())).tolist(), strict=True))
        finite = round(values.pop("finite_steps"))
        return {name: value / max(1, finite) for name, value in values.items()}, finite


class _Session:
    """One run of the program: its log, its clock, and the figures that are yet to be reported.

    Args:
        log: of the run's folder.
        earlier_s: time that earlier sessions spent.
    """

    def __init__(self, log: TrainingLog, earlier_s: float) -> None:
        self.log = log
        self.window = _LogWindow()
        self.validated_step: int | None = None
        self._earlier_s, self._start_s = earlier_s, time.monotonic()

    def duration_s(self) -> float:
        """Returns the time since the session began."""
        return time.monotonic() - self._start_s

    def elapsed_s(self) -> float:
        """Returns the time of all sessions."""
        return self._earlier_s + self.duration_s()


def _are_decays(*values: float) -> bool:
    return all(0.0 <= value < 1.0 for value in values)


def _adamw(parameters: list[nn.Parameter], config: TrainerConfig) -> torch.optim.AdamW:
    decayed = [parameter for parameter in parameters if parameter.ndim > 1]
    others = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.schedule.peak, betas=(_BETA1, config.beta2), fused=True)
