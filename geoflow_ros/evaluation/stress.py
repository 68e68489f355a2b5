"""What a localizer says where it ought to say that it does not know: wrong maps, wrong pictures, worlds of other kinds.

One set asks about right pairs; every other set changes one thing of them. What counts is not the error, which nobody
can keep small on a black image, but whether an answer that is off is published, and with which covariance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from geoflow_ros.arrays import Float64Array, UInt8Array
from geoflow_ros.backends import BackendOptions
from geoflow_ros.backends.options import ONNXRUNTIME
from geoflow_ros.bundle import Bundle, Manifest
from geoflow_ros.bundle.evidence import NEAR_M
from geoflow_ros.errors import ImageError, InputError
from geoflow_ros.evaluation.metrics import auroc, consistency, published_figures
from geoflow_ros.evaluation.rendering import render_pairs
from geoflow_ros.evaluation.stress_pictures import IMAGES, placeholder_tiles, rotated_map
from geoflow_ros.evaluation.synthetic import Protocol, as_patch, camera_of, loaded, sampler_for
from geoflow_ros.evaluation.tables import metres, share, table
from geoflow_ros.geo.axes import forward_right_axes
from geoflow_ros.inference import Fix, PatchLocalizer, SearchSettings, open_localizer
from geoflow_ros.localization.picture_check import PictureWatch
from geoflow_ros.world.conditions import ROAD, Conditions
from geoflow_ros.world.orthophoto_windows import Orthophotos
from geoflow_ros.world.other_style import OtherStylePairs
from geoflow_ros.world.pairs import PAIRS_PER_WINDOW, Area, Pair, PairSampler
from geoflow_ros.world.priors import HeadingError

RIGHT = "right"
_PAIRS_PER_WORLD = 8
_ELSEWHERE_M = 30.0  # another place is this far off at least
_STREAM = 71
_OF_ANSWERS = (
    *("mean_error_m", "median_error_m", "sigma_m", "anees", "coverage_95"),
    *("published_mean_error_m", "beyond_999"),
)
"""Figures that a set has where anything was answered, and published."""


@dataclass(frozen=True, eq=False)
class Question:
    """One image on one patch.

    Attributes:
        image: (H, W, 3) of the camera.
        pair: whose patch it is asked on.
        patch: (P, P, 3) what the map shows there.
        offset_m: (2,) where the camera truly is, (forward, right) of the patch's centre; outside of it in some sets.
        before: what was asked just before with the same camera; None where nothing was.
    """

    image: UInt8Array
    pair: Pair
    patch: UInt8Array
    offset_m: Float64Array
    before: Question | None = None

    @classmethod
    def of(cls, pair: Pair) -> Question:
        """Returns the question of a pair as it is."""
        return cls(pair.ground, pair, pair.satellite, pair.offset_m)


def error_of(question: Question, fix: Fix) -> Float64Array:
    """(2,) answer less truth, (forward, right) of the patch in metres."""
    return fix.frame.enu_to_local(fix.position) - question.offset_m


@dataclass
class StressAnswers:
    """The answers of one set.

    Attributes:
        asked: how many questions.
        errors_m: (forward, right) answer less truth, of those that were answered.
        covariances: of them.
        qualities: larger for an answer that is more likely near the truth.
        published: whether the localizer trusts them.
    """

    asked: int = 0
    errors_m: list[Float64Array] = field(default_factory=list)
    covariances: list[Float64Array] = field(default_factory=list)
    qualities: list[float] = field(default_factory=list)
    published: list[bool] = field(default_factory=list)

    def add(self, question: Question, fix: Fix | None) -> None:
        """Adds what was said to a question; None where its picture was refused."""
        self.asked += 1
        if fix is None:
            return
        self.errors_m.append(error_of(question, fix))
        self.covariances.append(fix.frame.rotate_covariance_to_local(fix.covariance))
        self.qualities.append(fix.assessment.quality)
        self.published.append(fix.assessment.trustworthy)

    @property
    def distance_m(self) -> Float64Array:
        """(n,) of the answers from the truth."""
        return np.asarray(np.hypot(*np.reshape(self.errors_m, (-1, 2)).T))

    def figures(self, centre_std_m: float) -> dict[str, Any]:
        """Computes the set's figures; those of answers are None where there is none.

        Args:
            centre_std_m: standard deviation of the guess "the patch's centre": an answer that says as much is harmless.
        """
        published = np.array(self.published, bool)
        result: dict[str, Any] = {
            **dict.fromkeys(_OF_ANSWERS),
            "asked": self.asked,
            "answered": len(self.errors_m),
            "published": float(published.sum() / self.asked),
            "harmless": 1.0,
        }
        if not self.errors_m:
            return result
        errors, covariances, distance = np.array(self.errors_m), np.array(self.covariances), self.distance_m
        std = np.sqrt(np.trace(covariances, axis1=1, axis2=2))
        said = consistency(errors, covariances)
        harmful = published & (std < centre_std_m)
        result |= {
            "mean_error_m": float(distance.mean()),
            "median_error_m": float(np.median(distance)),
            "sigma_m": float(np.median(std)),
            "anees": said["anees"],
            "coverage_95": said["coverage_95"],
            "harmless": 1.0 - float(harmful.sum() / self.asked),
        }
        seen = published_figures(errors, covariances, published)
        if seen:
            result["published_mean_error_m"] = seen["published_mean_error_m"]
            result["beyond_999"] = seen["published_beyond_999"]
        return result


@dataclass(frozen=True)
class StressReport:
    """How one bundle does.

    Attributes:
        model: its name.
        pairs: questions of each set.
        sets: the figures of each, by its name.
        auroc_5m: of the quality for "the error is 5 m at most", over the answers of all sets; None where all are alike.
        beyond_999: of all that is published, the share with an error outside of its own 99.9 % ellipse.
        availability: of right pairs that are answered within 5 m, the share that is published.
        examples: a question of each set, to be looked at.
    """

    model: str
    pairs: int
    sets: dict[str, dict[str, Any]]
    auroc_5m: float | None
    beyond_999: float | None
    availability: float | None
    examples: dict[str, Question]

    @property
    def title(self) -> str:
        """What was asked, in a few words."""
        return f"{self.model}, {self.pairs} questions a set"

    def text(self) -> str:
        """Formats the table that the command prints."""
        header = ["set", "mean m", "sigma m", "ANEES", "in 95 %", "published %", "their mean m", "beyond 99.9 %"]
        header.append("harmless %")
        rows = [
            [
                name, *(metres(f[key]) for key in ("mean_error_m", "sigma_m", "anees")), share(f["coverage_95"]),
                share(f["published"]), metres(f["published_mean_error_m"]), share(f["beyond_999"]),
                share(f["harmless"]),
            ]
            for name, f in self.sets.items()
        ]  # fmt: skip
        whole = (
            f"whole: AUROC of the quality for an error under {NEAR_M:g} m {metres(self.auroc_5m)}; of what is "
            f"published {share(self.beyond_999)} % lies outside of its own 99.9 % ellipse; of good answers on right "
            f"pairs {share(self.availability)} % are published"
        )
        return f"{self.title}\n\n{table(header, rows)}\n\n{whole}"

    def as_json(self) -> dict[str, Any]:
        """Returns plain values."""
        return {
            "model": self.model, "pairs": self.pairs, "auroc_5m": self.auroc_5m, "beyond_999": self.beyond_999,
            "availability": self.availability, "sets": self.sets,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class WrongHeadingError(HeadingError):
    """A heading error uniform between two bounds, to either side. Nobody knows of it: what is stated is a usual one."""

    low_deg: float
    high_deg: float

    def sample(self, rng: np.random.Generator, n: int) -> Float64Array:
        """Draws (n,) radians."""
        return np.asarray(np.radians(rng.uniform(self.low_deg, self.high_deg, n) * rng.choice((-1.0, 1.0), n)))


_WRONG_HEADING = WrongHeadingError(low_deg=15.0, high_deg=180.0)


def measure_stress(
    model: str | Path,
    pairs: int,
    seed: int,
    *,
    conditions: Conditions = ROAD,
    orthophotos: Orthophotos | None = None,
    backend: BackendOptions | None = None,
    progress: bool = False,
) -> StressReport:
    """Asks a bundle what is wrong in one way after the other.

    Args:
        model: a bundle's folder or a shipped one's name.
        pairs: questions of each set.
        seed: which pairs, of the test split.
        conditions: of the pairs.
        orthophotos: for a set of their worlds; there is none where None.
        backend: what runs the bundle; onnxruntime in float32 where None.
        progress: show progress bars on standard error.

    Raises:
        GeoFlowError: a bundle that cannot be used, or fewer than two worlds' pairs.
    """
    bundle = loaded(model)
    protocol = Protocol(Area.CROSS, pairs, seed, conditions=conditions)
    answers: dict[str, StressAnswers] = {}
    examples: dict[str, Question] = {}
    for name, question, fix in stress_answers(bundle, protocol, orthophotos, backend, progress):
        examples.setdefault(name, question)
        answers.setdefault(name, StressAnswers()).add(question, fix)
    return _report(bundle.manifest, pairs, answers, examples)


def stress_answers(
    bundle: Bundle,
    protocol: Protocol,
    orthophotos: Orthophotos | None = None,
    backend: BackendOptions | None = None,
    progress: bool = False,
) -> Iterator[tuple[str, Question, Fix | None]]:
    """Gives the name of each question's set, the question and its fix, None for a picture that is refused.

    Args:
        bundle: that is asked.
        protocol: which pairs; more than those of one world.
        orthophotos: for a set of their worlds.
        backend: what runs the bundle; onnxruntime in float32 where None.
        progress: show progress bars on standard error.

    Raises:
        InputError: too few pairs.
    """
    if protocol.pairs <= _PAIRS_PER_WORLD:
        raise InputError(f"other cities' maps need pairs of two worlds: ask for more than {_PAIRS_PER_WORLD} pairs")
    search = SearchSettings(camera=camera_of(protocol))
    localizer = open_localizer(bundle, backend or BackendOptions(ONNXRUNTIME), search=search)
    for name, questions in _sets(bundle.manifest, protocol, orthophotos, progress):
        for index, question in enumerate(questions):
            yield name, question, ask(localizer, question, index)


def _sets(
    manifest: Manifest, protocol: Protocol, orthophotos: Orthophotos | None, progress: bool
) -> Iterator[tuple[str, Sequence[Question]]]:
    """Makes the questions of one set after the other."""

    def rendered(sampler: PairSampler, name: str) -> list[Pair]:
        worlds, rest = divmod(protocol.pairs, _PAIRS_PER_WORLD)
        counts = [*[_PAIRS_PER_WORLD] * worlds, rest]
        numbers = [k * PAIRS_PER_WINDOW + i for k, count in enumerate(counts) for i in range(count)]
        return list(render_pairs(sampler, numbers, name, progress))

    def generator(name: str) -> np.random.Generator:
        return np.random.default_rng([protocol.split.seed(protocol.seed, 0), _STREAM, *name.encode()])

    right = rendered(sampler_for(manifest, protocol), RIGHT)
    yield RIGHT, [Question.of(pair) for pair in right]
    for name, change in IMAGES.items():
        rng = generator(name)
        yield name, [replace(Question.of(pair), image=change(pair.ground, rng)) for pair in right]
    yield "frozen", _frozen(right)
    yield "other_place", _at_other_places(right)
    yield "other_city", [replace(Question.of(pair), patch=_of_next_world(right, i)) for i, pair in enumerate(right)]
    for name, of_patch in (("map_rotated", rotated_map), ("placeholder_tiles", placeholder_tiles)):
        rng = generator(name)
        yield name, [replace(Question.of(pair), patch=of_patch(pair.satellite, rng)) for pair in right]
    plain: dict[str, Callable[[], PairSampler]] = {
        "wrong_heading": lambda: sampler_for(manifest, replace(protocol, heading=_WRONG_HEADING)),
        "fov_60": lambda: sampler_for(manifest, protocol, horizontal_fov_deg=60.0),
        "fov_120": lambda: sampler_for(manifest, protocol, horizontal_fov_deg=120.0),
        "other_style": lambda: sampler_for(manifest, protocol, kind=OtherStylePairs),
    }
    if orthophotos is not None:
        plain["orthophoto"] = lambda: sampler_for(manifest, replace(protocol, orthophotos=orthophotos))
    for name, sampler in plain.items():
        yield name, [Question.of(pair) for pair in rendered(sampler(), name)]


def _frozen(pairs: Sequence[Pair]) -> list[Question]:
    """The vehicle has gone on to another place of its world, and the camera still shows the place before."""
    return [
        replace(Question.of(here), image=there.ground, before=Question.of(there))
        for there, here in ((_neighbour(pairs, i, 0.0), pair) for i, pair in enumerate(pairs))
    ]


def _at_other_places(pairs: Sequence[Pair]) -> list[Question]:
    """The prior is wrong by more than the patch holds: it is cut at another place of the same world."""
    questions = []
    for i, pair in enumerate(pairs):
        other = _neighbour(pairs, i, _ELSEWHERE_M)
        offset_m = forward_right_axes(np.array(other.yaw_rad)) @ (_camera_at(pair) - other.centre_m)
        questions.append(Question(pair.ground, other, other.satellite, offset_m))
    return questions


def _of_next_world(pairs: Sequence[Pair], index: int) -> UInt8Array:
    """The patch of a pair of the world after; of the first after the last."""
    following = index - index % _PAIRS_PER_WORLD + _PAIRS_PER_WORLD
    return pairs[following if following < len(pairs) else 0].satellite


def _neighbour(pairs: Sequence[Pair], index: int, least_m: float) -> Pair:
    """Another pair of the same world, at least so far off where there is one; else the farthest."""
    first = index - index % _PAIRS_PER_WORLD
    others = [p for i, p in enumerate(pairs[first : first + _PAIRS_PER_WORLD], first) if i != index]
    if not others:  # the only pair of its world
        return pairs[index - 1]
    distance = [math.dist(_camera_at(pairs[index]), other.centre_m) for other in others]
    far = [i for i, metres_off in enumerate(distance) if metres_off >= least_m]
    return others[far[0]] if far else others[int(np.argmax(distance))]


def _camera_at(pair: Pair) -> Float64Array:
    """(2,) east and north of the camera in the map of its world."""
    return pair.centre_m + pair.offset_m @ forward_right_axes(np.array(pair.yaw_rad))


def ask(localizer: PatchLocalizer, question: Question, index: int) -> Fix | None:
    """Asks as a vehicle does: what cannot be a picture is not asked about, and the camera is one that drives.

    Args:
        localizer: that is asked; what it knows of another vehicle's camera is forgotten.
        question: of an image on a patch.
        index: of the question, which draws depend on.

    Returns:
        The fix; None where the picture is refused.
    """
    localizer.forget()
    watch, moved_m = PictureWatch(), 0.0
    try:
        if question.before is not None:
            watch.check(question.before.image, localizer.manifest, moved_m)
            _localize(localizer, question.before, index)
            moved_m = math.dist(_camera_at(question.before.pair), _camera_at(question.pair))
        watch.check(question.image, localizer.manifest, moved_m)
        return _localize(localizer, question, index)
    except ImageError:
        return None


def _localize(localizer: PatchLocalizer, question: Question, index: int) -> Fix:
    patch = as_patch(replace(question.pair, satellite=question.patch), localizer.manifest)
    return localizer.localize(question.image, patch, index, HeadingError().stated_rad)


def _report(
    manifest: Manifest, pairs: int, answers: dict[str, StressAnswers], examples: dict[str, Question]
) -> StressReport:
    centre_std_m = manifest.search_radius_m * math.sqrt(2.0 / 3.0)
    sets = {name: found.figures(centre_std_m) for name, found in answers.items()}
    is_near = np.concatenate([found.distance_m <= NEAR_M for found in answers.values()])
    qualities = np.concatenate([found.qualities for found in answers.values()])
    counts = {name: round(f["published"] * f["asked"]) for name, f in sets.items()}
    beyond = sum(counts[name] * (f["beyond_999"] or 0.0) for name, f in sets.items())
    right = answers[RIGHT]
    good = right.distance_m <= NEAR_M
    return StressReport(
        model=manifest.name,
        pairs=pairs,
        sets=sets,
        auroc_5m=auroc(qualities, is_near),
        beyond_999=beyond / sum(counts.values()) if any(counts.values()) else None,
        availability=float(np.array(right.published)[good].mean()) if good.any() else None,
        examples=examples,
    )
