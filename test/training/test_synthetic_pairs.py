"""Training batches from synthetic worlds: repeatable, and right about where the camera is."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes.orthophotos import collection

torch = pytest.importorskip("torch", reason="training is an extra")

from geoflow_ros.training.pairs import PairBatch  # noqa: E402
from geoflow_ros.training.synthetic import SyntheticConfig, SyntheticPairs  # noqa: E402
from geoflow_ros.world.conditions import HARD  # noqa: E402
from geoflow_ros.world.kinds import LABELS, Label  # noqa: E402
from geoflow_ros.world.orthophoto_windows import Orthophotos  # noqa: E402

CONFIG = SyntheticConfig(groups=4, pool=2, windows_per_batch=0.5, town_share=0.0, workers=0)


@pytest.fixture(scope="module")
def batches() -> list[PairBatch]:
    source = SyntheticPairs(CONFIG)
    return [source.batch(i) for i in range(4)]


def test_a_batch_is_a_function_of_its_number(batches: list[PairBatch]) -> None:
    source = pickle.loads(pickle.dumps(SyntheticPairs(CONFIG)))  # as a copy in another process
    again = source.batch(3)  # without the batches before it
    for name, value in vars(batches[3]).items():
        assert torch.equal(value, getattr(again, name)), name
    assert not torch.equal(batches[2].ground, batches[3].ground)


def test_frames_and_patches_of_a_place_are_combined(batches: list[PairBatch]) -> None:
    for b in batches:
        assert len(b.ground) == len(b.satellite) == 8
        assert 8 <= len(b.offset) <= 16
        assert b.offset.abs().max() <= 1.0
        assert torch.equal(b.ground_index // 2, b.satellite_index // 2)  # never across places
        assert b.ground_index.unique().numel() >= 4


def test_two_frames_on_one_patch_differ_by_their_motion(batches: list[PairBatch]) -> None:
    distances = []
    for b in batches:
        for s in b.satellite_index.unique():
            pairs = torch.nonzero(b.satellite_index == s).ravel()
            if len(pairs) == 2:
                distances.append(float((b.offset[pairs[0]] - b.offset[pairs[1]]).norm() * 20))
    assert distances
    assert max(distances) < 12


def test_ground_tokens_attend_to_the_cells_that_they_see(batches: list[PairBatch]) -> None:
    """The road right ahead of the camera is some metres forward of it: the target's centre of mass says so."""
    ahead = []
    for b in batches:
        assert b.attention is not None
        rows = b.attention.sum(-1)
        assert torch.all((rows - 1).abs().lt(1e-5) | rows.eq(0))
        cells = CONFIG.satellite_size // 32
        cell_m = 32 * CONFIG.ground_resolution_m
        centre = (torch.arange(cells) - (cells - 1) / 2) * cell_m
        grid = torch.stack(torch.meshgrid(centre, centre, indexing="xy"), -1).reshape(-1, 2)  # (forward, right)
        tokens = [3 * 16 + 7, 3 * 16 + 8]  # the bottom row's middle
        seen = (b.attention[:, tokens].mean(1) @ grid) - b.offset * CONFIG.search_radius_m
        ahead.append(seen[b.attention[:, tokens].sum((1, 2)) > 1.9])
    mean = torch.cat(ahead).mean(0)
    assert 4 < mean[0] < 14  # the bottom row looks 5.5 to 9 m ahead
    assert abs(mean[1]) < 4


def test_labels_name_what_is_in_the_pictures(batches: list[PairBatch]) -> None:
    ground, satellite = (
        np.concatenate([getattr(b, n).numpy() for b in batches]) for n in ("ground_labels", "satellite_labels")
    )
    assert ground.shape[1:] == (16, 64)
    assert satellite.shape[1:] == (32, 32)
    assert max(ground.max(), satellite.max()) < LABELS
    assert (ground[:, 0] == Label.SKY).mean() > 0.1
    assert not (ground[:, -1] == Label.SKY).any()
    assert (ground[:, -1] == Label.ROAD).mean() > 0.3
    assert (satellite == Label.ROAD).mean() > 0.05
    assert (satellite == Label.BUILDING).mean() > 0.02


def test_workers_bake_the_same_windows(batches: list[PairBatch]) -> None:
    source = SyntheticPairs(replace(CONFIG, workers=1))
    try:
        assert torch.equal(source.batch(0).ground, batches[0].ground)
    finally:
        source.close()


def test_the_pool_of_a_gpu_gives_the_same_batches(batches: list[PairBatch]) -> None:
    """The way that a GPU takes, all windows in one set of tensors, here on tensors of the CPU."""
    source = SyntheticPairs(CONFIG, in_one=True)
    for i in (0, 3):  # the second one replaces windows in their slots
        pooled, plain = source.batch(i), batches[i]
        assert torch.equal(pooled.offset, plain.offset)
        assert (pooled.ground_labels == plain.ground_labels).float().mean() > 0.99
        assert (pooled.satellite_labels == plain.satellite_labels).float().mean() > 0.99
        assert (pooled.ground.int() - plain.ground.int()).abs().le(5).float().mean() > 0.97
        assert (pooled.satellite.int() - plain.satellite.int()).abs().le(5).float().mean() > 0.97
        assert pooled.attention is not None
        assert plain.attention is not None
        assert (pooled.attention - plain.attention).abs().mean() < 1e-3


@pytest.fixture(scope="module")
def hard() -> PairBatch:
    return SyntheticPairs(replace(CONFIG, conditions=HARD)).batch(3)


def test_conditions_change_the_pictures_and_not_the_truth(batches: list[PairBatch], hard: PairBatch) -> None:
    easy = batches[3]
    for name in ("satellite_index", "ground_index", "offset", "heading_error_rad"):
        assert torch.equal(getattr(hard, name), getattr(easy, name)), name
    for name in ("ground", "satellite", "ground_labels", "satellite_labels", "attention"):
        assert getattr(hard, name).shape == getattr(easy, name).shape, name
        assert not torch.equal(getattr(hard, name), getattr(easy, name)), name


def test_a_disturbed_batch_is_a_function_of_its_number(hard: PairBatch) -> None:
    again = pickle.loads(pickle.dumps(SyntheticPairs(replace(CONFIG, conditions=HARD)))).batch(3)
    for name, value in vars(hard).items():
        assert torch.equal(value, getattr(again, name)), name


def test_disturbed_ground_tokens_still_attend_near_to_what_they_saw(batches: list[PairBatch], hard: PairBatch) -> None:
    """Traffic hides some of it and pitch moves it by a cell; tokens that see the map in both see about the same."""
    assert hard.attention is not None
    easy = batches[3].attention
    assert easy is not None
    both = (hard.attention.sum(-1) > 0.99) & (easy.sum(-1) > 0.99)
    agreement = torch.minimum(hard.attention, easy).sum(-1)[both]
    assert both.float().mean() > 0.2
    assert agreement.mean() > 0.4


def test_photometric_changes_are_of_the_pictures_alone(batches: list[PairBatch]) -> None:
    changed = SyntheticPairs(replace(CONFIG, photometric_share=0.5)).batch(3)
    plain = batches[3]
    for name, value in vars(plain).items():
        is_picture = name in ("ground", "satellite")
        assert torch.equal(value, getattr(changed, name)) != is_picture, name
    for name in ("ground", "satellite"):  # some of each side, not all
        same = [torch.equal(a, b) for a, b in zip(getattr(plain, name), getattr(changed, name), strict=True)]
        assert 0 < sum(same) < len(same)


def test_a_share_of_the_windows_is_of_orthophotos(tmp_path: Path) -> None:
    photos = Orthophotos(str(collection(tmp_path, ("aston",), 1)), share=1.0)
    config = replace(CONFIG, groups=1, pool=1, orthophotos=photos)
    batch = SyntheticPairs(config).batch(0)
    again = pickle.loads(pickle.dumps(SyntheticPairs(config))).batch(0)
    assert torch.equal(batch.ground, again.ground)
    assert torch.equal(batch.satellite, again.satellite)
    assert (batch.satellite_labels == Label.ROAD).any()
    assert not torch.isin(batch.satellite_labels, torch.tensor([Label.PAINT, Label.DRIVEWAY])).any()  # cities have them
