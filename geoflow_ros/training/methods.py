"""What differs between the trainings of the methods; all else they share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from geoflow_ros.bundle.image_sizes import IMAGE_SIZES, PATCH_EXTENT_M, ImageSize
from geoflow_ros.bundle.methods import BIRDS_EYE, GEOFLOW
from geoflow_ros.errors import InputError
from geoflow_ros.geo.birds_eye import VirtualCamera
from geoflow_ros.model import (
    BirdsEyeConfig,
    BirdsEyeMatcher,
    DenseFlow,
    DenseFlowConfig,
    GeoFlow,
    GeoFlowConfig,
    Network,
    load_birds_eye,
    load_checkpoint,
    load_dense_flow,
    method_of,
)
from geoflow_ros.model.checkpoint import DENSE_FLOW, load_imagenet
from geoflow_ros.model.dense_flow import ABLATIONS, flow_from_zero
from geoflow_ros.training.evaluate import evaluate_pairs
from geoflow_ros.training.evaluate_flow import evaluate_flow
from geoflow_ros.training.evaluate_poses import evaluate_poses
from geoflow_ros.training.flow_objective import FlowObjective
from geoflow_ros.training.pairs import PairBatch
from geoflow_ros.training.pose_objective import PoseObjective
from geoflow_ros.training.trainer import StepObjective
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.kinds import LABELS
from geoflow_ros.world.virtual_camera import virtual_camera

_RESOLUTION_DIGITS = 4  # metres per pixel are rounded to, as in the paper's 0.1958
_SKY_SHARE = 0.25  # of the image's rows: less than the horizon's, whatever way the camera is mounted
_HALF_SIZE = IMAGE_SIZES["half"]
FLOW_FROM_ZERO = "dense_flow_paper"
_GROUPS_OF_BASE_RATE = 16  # GeoFlow's learning rate grows with more places a step


@dataclass(frozen=True)
class PairErrors:
    """Answer minus truth of n pairs.

    Attributes:
        position_m: (n, 2) metres (forward, right).
        turn_rad: (n,) radians where the method tells yaw.
        before: the same of what was refined to this answer, where the method refines another's.
    """

    position_m: Tensor
    turn_rad: Tensor | None = None
    before: PairErrors | None = None


@dataclass(frozen=True)
class Pace:
    """How a training goes on one sort of device.

    Attributes:
        groups: places per step; each gives two frames and two patches, all combined.
        pool: windows of cities alive at a time.
        windows_per_batch: how fast these are replaced.
        warmup_steps: of the learning rate.
        validate_every: steps.
        save_every: steps.
    """

    groups: int
    pool: int
    windows_per_batch: float
    warmup_steps: int
    validate_every: int
    save_every: int


@dataclass(frozen=True)
class FirstWeights:
    """Where weights start: from a checkpoint, from ImageNet's, or at random; and with which head."""

    checkpoint: Path | None = None
    imagenet: Path | None = None
    predict_orientation: bool = False


NetworkT = TypeVar("NetworkT", bound=Network)


class Method(ABC, Generic[NetworkT]):
    """One method's part in `geoflow train`.

    Attributes:
        name: of the training; checkpoints have it too, but for dense flow's, which are alike.
        takes_bfloat16: whether its encoders may run in bfloat16.
        cpu: its pace on a CPU.
        gpu: its pace on a GPU.
        trainer: settings of the trainer that are not its defaults.
        data: settings of the pairs that are not their defaults.
    """

    name: ClassVar[str]
    takes_bfloat16: ClassVar[bool]
    cpu: ClassVar[Pace]
    gpu: ClassVar[Pace]
    trainer: ClassVar[Mapping[str, Any]] = {}
    data: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def learning_rate(self, groups: int) -> float:
        """Returns the peak for so many places a step."""

    @abstractmethod
    def network(self, size: ImageSize, first: FirstWeights) -> NetworkT:
        """Makes the network that is trained, on the CPU."""

    @abstractmethod
    def load(self, path: Path) -> NetworkT:
        """Loads a checkpoint."""

    @abstractmethod
    def objective(self, model: NetworkT) -> StepObjective | None:
        """Returns what is minimised; None for the trainer's own."""

    @abstractmethod
    def errors(self, model: NetworkT, batches: Iterable[PairBatch], encoder_dtype: torch.dtype) -> PairErrors:
        """Answers pairs with the averaged network."""


class GeoFlowMethod(Method[GeoFlow]):
    """GeoFlow: displacements from hypotheses."""

    name = GEOFLOW
    takes_bfloat16 = True
    # A CPU makes one small step in the time of some hundred of a GPU's large ones.
    cpu = Pace(groups=8, pool=4, windows_per_batch=0.1, warmup_steps=100, validate_every=250, save_every=100)
    gpu = Pace(groups=128, pool=128, windows_per_batch=0.5, warmup_steps=500, validate_every=2000, save_every=1000)
    trainer: ClassVar[Mapping[str, Any]] = {"satellite_classes": LABELS, "ground_classes": LABELS}

    def learning_rate(self, groups: int) -> float:
        """Returns 1e-3 for up to 16 places a step, growing with the square root beyond."""
        return 1e-3 * max(1.0, math.sqrt(groups / _GROUPS_OF_BASE_RATE))

    def network(self, size: ImageSize, first: FirstWeights) -> GeoFlow:
        """Makes the network."""
        if first.checkpoint is not None and first.imagenet is not None:
            raise InputError("init and pretrained both set the first weights; give one of them")
        config = GeoFlowConfig(
            predict_orientation=first.predict_orientation,
            satellite_size_px=size.satellite_px,
            ground_height_px=size.ground_height_px,
            ground_width_px=size.ground_width_px,
            ground_resolution_m=_ground_resolution_m(size),
        )
        model = GeoFlow(config)
        if first.checkpoint is not None:
            model.load_state_dict(load_checkpoint(first.checkpoint).state_dict())
        if first.imagenet is not None:
            load_imagenet(model, first.imagenet)
        return model

    def load(self, path: Path) -> GeoFlow:
        """Loads a checkpoint."""
        return load_checkpoint(path)

    def objective(self, model: GeoFlow) -> None:
        """The trainer has GeoFlow's objective itself."""
        return

    def errors(self, model: GeoFlow, batches: Iterable[PairBatch], encoder_dtype: torch.dtype) -> PairErrors:
        """Answers with the mean of refined hypotheses."""
        radius_m = model.config.search_radius_m
        return PairErrors(evaluate_pairs(model, batches, radius_m=radius_m, encoder_dtype=encoder_dtype))


class BirdsEyeMethod(Method[BirdsEyeMatcher]):
    """Bird's-eye matching: a posterior over poses."""

    name = BIRDS_EYE
    takes_bfloat16 = False  # the ground's coordinates and the sums over templates need more than 8 bits
    # Steps are small and many: explicit geometry learns from few pairs.
    cpu = Pace(groups=2, pool=4, windows_per_batch=0.05, warmup_steps=60, validate_every=125, save_every=100)
    gpu = Pace(groups=32, pool=128, windows_per_batch=0.5, warmup_steps=200, validate_every=1000, save_every=1000)
    trainer: ClassVar[Mapping[str, Any]] = {
        "weight_decay": 0.02, "gradient_clip": 3.0, "beta2": 0.98,
    }  # fmt: skip
    data: ClassVar[Mapping[str, Any]] = {"wide_heading_share": 0.4, "undisturbed_share": 0.25}

    def learning_rate(self, groups: int) -> float:
        """Returns 2e-3, whatever the size of a step."""
        return 2e-3

    def network(self, size: ImageSize, first: FirstWeights) -> BirdsEyeMatcher:
        """Makes the network for the camera of the synthetic worlds."""
        if first.imagenet is not None or first.predict_orientation:
            raise InputError("ImageNet's weights and the orientation head are of the method geoflow; leave them out")
        model = BirdsEyeMatcher(birds_eye_config(size, virtual_camera(_usual_camera(size))))
        if first.checkpoint is not None:
            model.load_state_dict(load_birds_eye(first.checkpoint).state_dict())
        return model

    def load(self, path: Path) -> BirdsEyeMatcher:
        """Loads a checkpoint."""
        return load_birds_eye(path)

    def objective(self, model: BirdsEyeMatcher) -> StepObjective:
        """Cross-entropy of the true pose."""
        return PoseObjective(model)

    def errors(self, model: BirdsEyeMatcher, batches: Iterable[PairBatch], encoder_dtype: torch.dtype) -> PairErrors:
        """Answers with the posterior's largest mode."""
        return PairErrors(*evaluate_poses(model, batches))


class DenseFlowMethod(Method[DenseFlow]):
    """Dense flow from the posterior's mode, on the encoders of a matcher that stays as it is."""

    name = DENSE_FLOW
    takes_bfloat16 = False  # as the matcher, and a look-up's place is a sum of many small steps
    cpu, gpu = BirdsEyeMethod.cpu, BirdsEyeMethod.gpu
    trainer = BirdsEyeMethod.trainer
    data = BirdsEyeMethod.data

    def learning_rate(self, groups: int) -> float:
        """Returns 1e-3, whatever the size of a step."""
        return 1e-3

    def network(self, size: ImageSize, first: FirstWeights) -> DenseFlow:
        """Puts a decoder behind the matcher of a checkpoint, or takes both from one of dense flow."""
        if first.imagenet is not None or first.predict_orientation:
            raise InputError("ImageNet's weights and the orientation head are of the method geoflow; leave them out")
        if first.checkpoint is None:
            return self._untrained(size)
        is_whole = method_of(first.checkpoint) == DENSE_FLOW
        trained = load_dense_flow(first.checkpoint) if is_whole else load_birds_eye(first.checkpoint)
        config = trained.config
        if config.satellite_size_px != size.satellite_px:
            raise InputError(f"{first.checkpoint} is for patches of {config.satellite_size_px} px: give its size")
        model = DenseFlow(config, self._decoder(config))
        if isinstance(trained, BirdsEyeMatcher):
            model.matcher.load_state_dict(trained.state_dict())
        elif trained.flow_config == model.flow_config:
            model.load_state_dict(trained.state_dict())
        else:
            raise InputError(f"{first.checkpoint} has another decoder than {self.name}: give a matcher's checkpoint")
        return model

    def _untrained(self, size: ImageSize) -> DenseFlow:
        """Returns what is trained where no checkpoint is given."""
        raise InputError("dense_flow refines a trained matcher: give a checkpoint of the method birds_eye")

    def _decoder(self, config: BirdsEyeConfig) -> DenseFlowConfig:
        return DenseFlowConfig()

    def load(self, path: Path) -> DenseFlow:
        """Loads a checkpoint."""
        return load_dense_flow(path)

    def objective(self, model: DenseFlow) -> StepObjective:
        """The paper's three losses."""
        return FlowObjective(model)

    def errors(self, model: DenseFlow, batches: Iterable[PairBatch], encoder_dtype: torch.dtype) -> PairErrors:
        """Answers with the fitted flow, and says what it started from."""
        errors = evaluate_flow(model, batches)
        before = PairErrors(errors.before[:, :2], errors.before[:, 2])
        return PairErrors(errors.after[:, :2], errors.after[:, 2], before)


class FlowFromZeroMethod(DenseFlowMethod):
    """Dense flow as in the paper: from zero flow, encoders and decoder trained together.

    Args:
        without: one of the paper's ablations, or "".
    """

    name = FLOW_FROM_ZERO

    def __init__(self, without: str = "") -> None:
        self._without = without

    def _untrained(self, size: ImageSize) -> DenseFlow:
        config = birds_eye_config(size, virtual_camera(_usual_camera(size)))
        return DenseFlow(config, self._decoder(config))

    def _decoder(self, config: BirdsEyeConfig) -> DenseFlowConfig:
        return replace(flow_from_zero(config), without=self._without)


def ablated(without: str) -> str:
    """Returns the name of the paper's method without one of its parts."""
    return f"{FLOW_FROM_ZERO}_without_{without}"


def birds_eye_config(size: ImageSize, camera: VirtualCamera) -> BirdsEyeConfig:
    """Returns the small network for images of one of the two sizes and a camera."""
    detail = size.satellite_px // _HALF_SIZE.satellite_px
    return BirdsEyeConfig(
        stem_halvings=detail.bit_length() - 1,
        satellite_size_px=size.satellite_px,
        ground_height_px=size.ground_height_px,
        ground_width_px=size.ground_width_px,
        ground_resolution_m=_ground_resolution_m(size),
        focal_px=camera.focal_px,
        horizon_row_px=camera.horizon_row_px,
        camera_height_m=camera.height_m,
        lowest_row_px=camera.lowest_row_px,
        sky_rows_px=round(_SKY_SHARE * size.ground_height_px),
    )


def _usual_camera(size: ImageSize) -> Camera:
    return Camera.perspective(size.ground_width_px, size.ground_height_px)


def _ground_resolution_m(size: ImageSize) -> float:
    return round(PATCH_EXTENT_M / size.satellite_px, _RESOLUTION_DIGITS)


METHODS: dict[str, Method[Any]] = {
    **{method.name: method for method in (GeoFlowMethod(), BirdsEyeMethod(), DenseFlowMethod(), FlowFromZeroMethod())},
    **{ablated(without): FlowFromZeroMethod(without) for without in ABLATIONS},
}
"""By name."""
