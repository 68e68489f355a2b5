"""A bundle's evidence: how probable an error under 5 m is, fitted on right questions and on wrong ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoflow_ros.arrays import Float64Array
from geoflow_ros.backends import BackendOptions
from geoflow_ros.bundle import Bundle, Evidence
from geoflow_ros.bundle.birds_eye import ZERO
from geoflow_ros.bundle.evidence import NEAR_M, SIGNS_OF
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.metrics import auroc
from geoflow_ros.evaluation.rendering import render_pairs
from geoflow_ros.evaluation.stress import RIGHT, Question, ask, error_of, stress_answers
from geoflow_ros.evaluation.synthetic import Protocol, camera_of, loaded, sampler_for
from geoflow_ros.evaluation.tables import metres, share, table
from geoflow_ros.inference import Fix, SearchSettings, open_localizer
from geoflow_ros.world.conditions import EASY, ROAD
from geoflow_ros.world.orthophoto_windows import Orthophotos
from geoflow_ros.world.pairs import Area
from geoflow_ros.world.splits import Split

GOOD_SHARE = 0.92
"""Of the answers to right pairs under road conditions that are near the truth, so many are to be trusted."""

_RIGHT_SHARE = 4  # right pairs of each condition, per question of a set
_FOLDS = 4
_BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
_PENALTY = 1e-2  # of the squared weights of standardised signs, against the mean log-likelihood
_STEPS, _SETTLED = 50, 1e-9
_LEAST_ANSWERS = 50


@dataclass(frozen=True, eq=False)
class _Answer:
    """One answer: the set it is of, its signs, and whether it is near the truth."""

    set: str
    signs: Float64Array
    is_near: bool


@dataclass(frozen=True)
class EvidenceReport:
    """Evidence, and how it does on answers that it was not fitted on.

    Attributes:
        evidence: fitted on all of them.
        auroc: of the probability for "near", by cross-validation.
        reliability: of every bin of probabilities: its ends, answers, their mean probability and share that is near.
        trusted: share of each set's answers that would be trusted.
    """

    evidence: Evidence
    auroc: float | None
    reliability: tuple[tuple[float, float, int, float, float], ...]
    trusted: dict[str, float]

    def text(self) -> str:
        """Formats the tables that the command prints."""
        e = self.evidence
        reliability = table(
            ["probability", "answers", "mean %", f"under {NEAR_M:g} m %"],
            [[f"{low:.1f} to {high:.1f}", str(n), share(p), share(near)] for low, high, n, p, near in self.reliability],
        )
        trusted = table(["set", "trusted %"], [[name, share(value)] for name, value in self.trusted.items()])
        head = f"{e.pairs} answers ({e.data}); AUROC {metres(self.auroc)}; trusted from {e.least_probability:.2f} on"
        return f"{head}, all by cross-validation\n\n{reliability}\n\n{trusted}"

    def as_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return asdict(self)


def fit_evidence(
    model: str | Path,
    pairs: int,
    seed: int,
    *,
    orthophotos: Orthophotos | None = None,
    backend: BackendOptions | None = None,
    progress: bool = False,
) -> EvidenceReport:
    """Asks a bundle right questions and those of the stress sets, of the calibration's worlds, and weighs the signs.

    Args:
        model: a bundle's folder or a shipped one's name; evidence that it has is not used.
        pairs: questions of each set; right ones are asked four times as often, under easy and under road conditions.
        seed: which.
        orthophotos: for a set of their worlds.
        backend: what runs the bundle; onnxruntime in float32 where None.
        progress: show progress bars on standard error.

    Raises:
        GeoFlowError: a bundle that cannot be used, or answers that are all near or all far.
    """
    bundle = loaded(model)
    if bundle.manifest.birds_eye is not None and bundle.manifest.birds_eye.flow_start == ZERO:
        raise InputError(f"the bundle '{bundle.manifest.name}' has flow from zero: it has no posterior to weigh")
    bundle = Bundle(bundle.path, replace(bundle.manifest, evidence=None))
    names = SIGNS_OF[bundle.manifest.method]
    answers = [
        _Answer(name, np.array([fix.assessment.signs[sign] for sign in names]), is_near)
        for name, fix, is_near in _asked(bundle, pairs, seed, orthophotos, backend, progress)
    ]
    data = f"{pairs} questions of {len({a.set for a in answers})} sets, right ones more often, seed {seed}"
    return weigh(answers, names, data)


def _asked(
    bundle: Bundle,
    pairs: int,
    seed: int,
    orthophotos: Orthophotos | None,
    backend: BackendOptions | None,
    progress: bool,
) -> Iterator[tuple[str, Fix, bool]]:
    """Gives the set, the fix and whether it is near, of all that is answered."""
    protocol = Protocol(Area.CROSS, pairs, seed, split=Split.CALIBRATION, conditions=ROAD)
    for name, question, fix in stress_answers(bundle, protocol, orthophotos, backend, progress):
        if fix is not None:
            yield name, fix, _is_near(question, fix)
    for conditions in (ROAD, EASY):
        right = replace(protocol, pairs=_RIGHT_SHARE * pairs, seed=seed + 1, conditions=conditions)
        localizer = open_localizer(bundle, backend, search=SearchSettings(camera=camera_of(right)))
        name = RIGHT if conditions is ROAD else f"{RIGHT}, {conditions.name}"
        pairs_of_it = render_pairs(sampler_for(bundle.manifest, right), right.pairs, f"{name} pairs", progress)
        for index, question in enumerate(map(Question.of, pairs_of_it)):
            answer = ask(localizer, question, index)
            if answer is not None:
                yield name, answer, _is_near(question, answer)


def _is_near(question: Question, fix: Fix) -> bool:
    return bool(np.hypot(*error_of(question, fix)) <= NEAR_M)


def weigh(answers: Sequence[_Answer], names: Sequence[str], data: str) -> EvidenceReport:
    """Fits evidence to answers, and measures it on those of the folds that it was not fitted on.

    Raises:
        InputError: too few answers, or all near or all far.
    """
    signs, is_near = np.array([a.signs for a in answers]), np.array([a.is_near for a in answers])
    sets = np.array([a.set for a in answers])
    if len(answers) < _LEAST_ANSWERS or is_near.all() or not is_near.any():
        raise InputError("evidence needs more answers, some near the truth and some far: ask for more pairs")
    mean, scale = signs.mean(axis=0), np.maximum(signs.std(axis=0), 1e-6)
    standard = (signs - mean) / scale
    # Neighbours are of one world: a fold takes whole runs of them. The same world with another thing wrong may be in
    # another fold; a handful of weights cannot learn it by heart.
    fold = np.arange(len(answers)) * _FOLDS * 8 // len(answers) % _FOLDS
    unseen = np.empty(len(answers))
    for k in range(_FOLDS):
        unseen[fold == k] = _probability(standard[fold == k], _logistic(standard[fold != k], is_near[fold != k]))
    fitted = _logistic(standard, is_near)
    weights = fitted[:-1] / scale
    good = unseen[(sets == RIGHT) & is_near]
    least = float(np.quantile(good, 1.0 - GOOD_SHARE)) if len(good) else 0.5
    evidence = Evidence(
        weights=dict(zip(names, (float(w) for w in weights), strict=True)),
        bias=float(fitted[-1] - weights @ mean),
        least_probability=least,
        pairs=len(answers),
        data=data,
    )
    return EvidenceReport(
        evidence,
        auroc(unseen, is_near),
        tuple(_reliability(unseen, is_near)),
        {name: float(np.mean(unseen[sets == name] >= least)) for name in dict.fromkeys(sets.tolist())},
    )


def _logistic(signs: Float64Array, is_near: NDArray[np.bool_]) -> Float64Array:
    """Returns the (k + 1,) weights and bias of the greatest penalised likelihood, by Newton's method."""
    rows = np.concatenate([signs, np.ones((len(signs), 1))], axis=1)
    penalty = _PENALTY * np.append(np.ones(signs.shape[1]), 0.0)
    weights = np.zeros(rows.shape[1])
    for _ in range(_STEPS):
        p = _probability(signs, weights)
        gradient = rows.T @ (p - is_near) / len(rows) + penalty * weights
        curvature = (rows * (p * (1.0 - p))[:, None]).T @ rows / len(rows) + np.diag(penalty + _SETTLED)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step
        if np.abs(step).max() < _SETTLED:
            break
    return np.asarray(weights)


def _probability(signs: Float64Array, weights: Float64Array) -> Float64Array:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(signs @ weights[:-1] + weights[-1], -50.0, 50.0))))


def _reliability(
    probability: Float64Array, is_near: NDArray[np.bool_]
) -> Iterator[tuple[float, float, int, float, float]]:
    for low, high in zip(_BINS[:-1], _BINS[1:], strict=True):
        inside = (probability >= low) & ((probability < high) | (high == _BINS[-1]))
        if inside.any():
            yield low, high, int(inside.sum()), float(probability[inside].mean()), float(is_near[inside].mean())
