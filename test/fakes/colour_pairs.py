"""Tiny training pairs that can be learnt, and a tiny network and configuration to train on them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from geoflow_ros.model import GeoFlow, GeoFlowConfig
from geoflow_ros.training.hypotheses import HypothesisSampling
from geoflow_ros.training.pairs import PairBatch
from geoflow_ros.training.schedule import Schedule
from geoflow_ros.training.trainer import TrainerConfig

TINY = GeoFlowConfig(satellite_size_px=64, ground_height_px=32, ground_width_px=128)
CLASSES = 3


@dataclass
class ColourPairs:
    """Pairs that can be learnt: the patch's colour tells the position. ``asked`` are the batches made."""

    broken: frozenset[int] = frozenset()  # batches whose truth is not a number
    asked: list[int] = field(default_factory=list)

    def batch(self, index: int) -> PairBatch:
        self.asked.append(index)
        rng = np.random.default_rng([11, index])
        frames, patches, pairs = 3, 6, 12
        position = rng.uniform(-1, 1, (patches, 2)).astype(np.float32)
        colour = np.concatenate([127.5 + 120 * position, np.full((patches, 1), 128)], axis=1)
        satellite = colour[:, None, None] + rng.normal(0, 4, (patches, 64, 64, 3))
        ground = rng.integers(0, 256, (frames, 32, 128, 3), dtype=np.uint8)
        ground_index, satellite_index = np.arange(pairs) % frames, np.arange(pairs) % patches
        attention = rng.random((pairs, 4, 4)).astype(np.float32)
        attention /= attention.sum(-1, keepdims=True)
        attention[:, 0] = 0.0  # the first token sees the sky
        offset = torch.from_numpy(position[satellite_index])
        return PairBatch(
            satellite=torch.from_numpy(satellite.clip(0, 255).astype(np.uint8)),
            ground=torch.from_numpy(ground),
            satellite_index=torch.from_numpy(satellite_index),
            ground_index=torch.from_numpy(ground_index),
            offset=offset * math.nan if index in self.broken else offset,
            heading_error_rad=torch.from_numpy(rng.normal(0, 0.05, pairs).astype(np.float32)),
            attention=torch.from_numpy(attention),
            satellite_labels=torch.from_numpy(rng.integers(0, CLASSES, (patches, 4, 4), dtype=np.uint8)),
            ground_labels=torch.from_numpy(rng.integers(0, CLASSES, (frames, 2, 8), dtype=np.uint8)),
        )

    def close(self) -> None:
        pass


def tiny_config(out: Path, steps: int = 6, **settings: object) -> TrainerConfig:
    defaults = TrainerConfig(
        out=out,
        schedule=Schedule(peak=1e-3, steps=steps, warmup_steps=2),
        hypotheses=HypothesisSampling(count=16),
        satellite_classes=CLASSES,
        ground_classes=CLASSES,
        label_cells=2,
        bfloat16=False,  # most CPUs would emulate it, at a hundredth of the speed
        log_every=1,
        is_progress_shown=False,
    )
    return replace(defaults, **settings)  # type: ignore[arg-type]


def tiny_model(config: GeoFlowConfig = TINY) -> GeoFlow:
    torch.manual_seed(2)
    return GeoFlow(config)


def entries(out: Path, group: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["group"] == group]
