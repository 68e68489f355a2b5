"""The bird's-eye network's parts as torch modules with a bundle's inputs and outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from geoflow_ros.bundle.methods import (
    COARSE_MATCHER,
    COARSE_MATCHER_WIDE,
    FINE_MATCHER,
    FINE_MATCHER_WIDE,
    FLOW_REFINEMENT,
    GROUND_ENCODER,
    GROUND_PROJECTION,
    SATELLITE_ENCODER,
    birds_eye_tensors,
)
from geoflow_ros.bundle.tensors import GraphSpec
from geoflow_ros.inference.pose_search import PoseSearch
from geoflow_ros.model.birds_eye import BirdsEyeMatcher
from geoflow_ros.model.birds_eye_config import BirdsEyeConfig
from geoflow_ros.model.birds_eye_encoders import GroundCells, Projection, SatelliteCells
from geoflow_ros.model.dense_flow import DenseFlow
from geoflow_ros.model.geoflow import normalize_images


class _SatelliteEncoder(nn.Module):
    def __init__(self, model: BirdsEyeMatcher) -> None:
        super().__init__()
        self.encoder = model.satellite

    def forward(self, satellite: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.encoder(normalize_images(satellite)))


class _GroundEncoder(nn.Module):
    def __init__(self, model: BirdsEyeMatcher) -> None:
        super().__init__()
        self.encoder = model.ground

    def forward(self, ground: Tensor) -> tuple[Tensor, ...]:
        return self.encoder.image_features(normalize_images(ground))


class _GroundProjection(nn.Module):
    def __init__(self, model: BirdsEyeMatcher) -> None:
        super().__init__()
        self.encoder = model.ground.aligned()

    def forward(
        self, ground_features: Tensor, ground_image: Tensor, cells: Tensor, colours: Tensor, is_visible: Tensor
    ) -> tuple[Tensor, ...]:
        seen = self.encoder.lay_down(ground_features, ground_image, Projection(cells, colours, is_visible))
        return seen.fine, seen.coarse, seen.fine_confidence


class _CoarseMatcher(nn.Module):
    def __init__(self, model: BirdsEyeMatcher, search: PoseSearch) -> None:
        super().__init__()
        self.model, self.search = model, search

    def forward(self, satellite_coarse: Tensor, ground_coarse: Tensor, turn: Tensor) -> Tensor:
        satellite, ground = _cells(satellite_coarse, satellite_coarse, ground_coarse, ground_coarse)
        cameras, turns = ground_coarse.shape[0], turn.shape[0]
        scores = self.model.coarse_scores(satellite, ground, turn.expand(cameras, -1), self.search)
        return scores.reshape(cameras, turns, *scores.shape[2:])


class _FineMatcher(nn.Module):
    def __init__(self, model: BirdsEyeMatcher, search: PoseSearch) -> None:
        super().__init__()
        self.model, self.search = model, search

    def forward(
        self,
        satellite_fine: Tensor,
        satellite_coarse: Tensor,
        ground_fine: Tensor,
        ground_coarse: Tensor,
        camera: Tensor,
        centre_cells: Tensor,
        turn: Tensor,
    ) -> Tensor:
        satellite, ground = _cells(satellite_fine, satellite_coarse, ground_fine, ground_coarse)
        return self.model.fine_scores(satellite, ground, camera[None], centre_cells[None], turn[None], self.search)[0]


class _FlowRefinement(nn.Module):
    def __init__(self, flow: DenseFlow) -> None:
        super().__init__()
        self.encoder, self.decoder = flow.matcher.ground, flow.decoder

    def forward(
        self,
        satellite_fine: Tensor,
        satellite_coarse: Tensor,
        ground_features: Tensor,
        ground_image: Tensor,
        cells: Tensor,
        colours: Tensor,
        is_visible: Tensor,
        start: Tensor,
    ) -> tuple[Tensor, ...]:
        seen = self.encoder.lay_down(ground_features, ground_image, Projection(cells, colours, is_visible))
        answer = self.decoder(SatelliteCells(satellite_fine, satellite_coarse), seen, start)
        return answer.pose, answer.covariance


def _cells(
    satellite_fine: Tensor, satellite_coarse: Tensor, ground_fine: Tensor, ground_coarse: Tensor
) -> tuple[SatelliteCells, GroundCells]:
    """The features that matching looks at; it has no use for what else there is of the ground."""
    none = torch.empty(0)
    return SatelliteCells(satellite_fine, satellite_coarse), GroundCells(ground_fine, ground_coarse, none, none, none)


def birds_eye_module(network: BirdsEyeMatcher | DenseFlow, graph: str) -> nn.Module:
    """The part of the network that a graph of the bundle holds, in evaluation mode."""
    if graph == FLOW_REFINEMENT:
        assert isinstance(network, DenseFlow)  # or the bundle had no such graph
        return _FlowRefinement(network).eval()
    model = matcher_of(network)
    near = model.config.search
    wide = replace(near, max_turn_rad=math.pi)
    parts: dict[str, Callable[[], nn.Module]] = {
        SATELLITE_ENCODER: lambda: _SatelliteEncoder(model),
        GROUND_ENCODER: lambda: _GroundEncoder(model),
        GROUND_PROJECTION: lambda: _GroundProjection(model),
        COARSE_MATCHER: lambda: _CoarseMatcher(model, near),
        COARSE_MATCHER_WIDE: lambda: _CoarseMatcher(model, wide),
        FINE_MATCHER: lambda: _FineMatcher(model, near),
        FINE_MATCHER_WIDE: lambda: _FineMatcher(model, wide),
    }
    return parts[graph]().eval()


def matcher_of(network: BirdsEyeMatcher | DenseFlow) -> BirdsEyeMatcher:
    """The network itself, or that which dense flow refines the poses of."""
    return network.matcher if isinstance(network, DenseFlow) else network


def tensors_of(network: BirdsEyeMatcher | DenseFlow) -> dict[str, GraphSpec]:
    """The tensors that the network's graphs have."""
    config = network.config
    channels = config.fine_channels, config.coarse_channels, feature_channels(config)
    return birds_eye_tensors(config, *channels, has_flow=isinstance(network, DenseFlow))


def feature_channels(config: BirdsEyeConfig) -> int:
    """The features of the camera's image before it is laid on the ground."""
    return 2 * config.width
