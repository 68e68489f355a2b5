"""What differs between the trainings of the two methods; all else they share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
    GeoFlow,
    GeoFlowConfig,
    Network,
    load_birds_eye,
    load_checkpoint,
)
from geoflow_ros.model.checkpoint import load_imagenet
from geoflow_ros.training.evaluate import evaluate_pairs
from geoflow_ros.training.evaluate_poses import evaluate_poses
from geoflow_ros.training.pairs import PairBatch
from geoflow_ros.training.pose_objective import PoseObjective
from geoflow_ros.training.trainer import StepObjective
from geoflow_ros.world.camera import Camera
from geoflow_ros.world.kinds import LABELS
from geoflow_ros.world.virtual_camera import virtual_camera

_RESOLUTION_DIGITS = 4  # metres per pixel are rounded to, as in the paper's 0.1958
_SKY_SHARE = 0.25  # of the image's rows: less than the horizon's, whatever way the camera is mounted
_HALF_SIZE = IMAGE_SIZES["half"]
_GROUPS_OF_BASE_RATE = 16  # GeoFlow's learning rate grows with more places a step


@dataclass(frozen=True)
class PairErrors:
    """Answer minus truth of n pairs: (n, 2) metres (forward, right), and (n,) radians where the method tells yaw."""

    position_m: Tensor
    turn_rad: Tensor | None = None


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
        name: as checkpoints have it.
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


METHODS: dict[str, Method[Any]] = {GEOFLOW: GeoFlowMethod(), BIRDS_EYE: BirdsEyeMethod()}
"""By name."""
