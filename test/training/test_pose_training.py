"""Training the bird's-eye network: what a step asks, and that it is stopped, resumed and refused as the other is."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes.colour_pairs import tiny_config, tiny_model
from fakes.ground_cells import TINY_BIRDS_EYE, tiny_matcher
from fakes.noise_pairs import NoisePairs

from geoflow_ros.bundle.image_sizes import IMAGE_SIZES
from geoflow_ros.errors import InputError
from geoflow_ros.model import BirdsEyeMatcher, load_birds_eye, normalize_images
from geoflow_ros.training.evaluate_poses import evaluate_poses
from geoflow_ros.training.methods import METHODS, FirstWeights, birds_eye_config
from geoflow_ros.training.pairs import PairBatch
from geoflow_ros.training.pose_objective import PoseObjective, PoseSampling, mirrored
from geoflow_ros.training.run import SyntheticTraining, train_synthetic
from geoflow_ros.training.trainer import Trainer
from geoflow_ros.world import Camera
from geoflow_ros.world.virtual_camera import virtual_camera


def figures(sampling: PoseSampling | None = None) -> dict[str, float]:
    objective = PoseObjective(tiny_matcher().train(), sampling)
    parts = objective(NoisePairs(2).batch(0), torch.Generator().manual_seed(0)).parts
    return {name: value.item() for name, value in parts.items()}


def test_untrained_scores_cost_what_a_uniform_guess_costs() -> None:
    parts = figures()
    search = TINY_BIRDS_EYE.search
    cells = (2 * search.coarse_reach + 1) ** 2 * 5
    assert parts["coarse"] == pytest.approx(math.log(2 * cells), abs=0.5)  # half of it for being nowhere
    fine = (2 * search.reach_cells + 1) ** 2 * 4
    assert parts["fine"] == pytest.approx(math.log(2 * fine), abs=0.5)
    # two negatives for eight pairs, each at about log 2
    assert parts["coarse_none"] == pytest.approx(0.25 * math.log(2), abs=0.1)
    assert parts["loss"] == pytest.approx(
        sum(parts[k] for k in ("coarse", "fine", "coarse_none", "fine_none")), rel=1e-5
    )
    assert not {"coarse_none", "fine_none"} & figures(PoseSampling(negatives=0.0)).keys()


def test_a_wrongly_assumed_camera_competes_and_the_true_one_is_asked_about() -> None:
    """Untrained scores are flat: what competes doubles the ways to be, for half of the frames."""
    model = tiny_matcher().train()
    plain = PoseObjective(model, PoseSampling(negatives=0.0, far_share=0.0))
    doubted = PoseObjective(model, PoseSampling(negatives=0.0, far_share=1.0))
    batch = NoisePairs(2).batch(0)
    alone = plain(batch, torch.Generator().manual_seed(0)).parts["coarse"].item()
    both = doubted(batch, torch.Generator().manual_seed(0)).parts["coarse"].item()
    # five headings and none as heavy as they, against two headings more
    assert both - alone == pytest.approx(math.log(12 / 10), abs=0.1)
    truth = torch.tensor([[15.0, 1.4, 0.01]] * 6)
    drawn = doubted._hypotheses(truth, 4, torch.Generator().manual_seed(1))
    pitch = torch.rad2deg(torch.atan((drawn[:, 0] - 15.0) / 64.0)).abs()
    assert (pitch[:4] <= 0.4 + 1e-3).all()
    assert (pitch[4:] >= 0.8 - 1e-3).all()
    assert ((drawn[:4, 1] / 1.4 - 1).abs() <= 0.03 + 1e-6).all()
    assert (torch.rad2deg(drawn[:4, 2] - 0.01).abs() <= 0.3 + 1e-3).all()


def test_a_step_that_has_no_other_places_does_without_them() -> None:
    batch = NoisePairs(2).batch(0)
    alone = PairBatch(
        satellite=batch.satellite[:1],
        ground=batch.ground[:1],
        satellite_index=torch.zeros(8, dtype=torch.int64),
        ground_index=torch.zeros(8, dtype=torch.int64),
        offset=batch.offset,
        heading_error_rad=batch.heading_error_rad,
    )
    parts = PoseObjective(tiny_matcher().train())(alone, torch.Generator().manual_seed(0)).parts
    assert parts["coarse_none"].item() == 0.0
    assert torch.isfinite(parts["loss"])


def test_the_headings_of_a_step_hold_the_truth() -> None:
    objective = PoseObjective(tiny_matcher().train())
    truth = torch.linspace(-0.2, 0.2, 9)
    generator = torch.Generator().manual_seed(3)
    for turns, at in (objective._coarse_turns(truth, generator), objective._fine_turns(truth, generator)):
        low = at.floor().long()
        share = at - low
        around = torch.gather(turns, 1, torch.stack((low, low + 1), dim=1))
        torch.testing.assert_close(around[:, 0] * (1 - share) + around[:, 1] * share, truth, atol=1e-6, rtol=0)
        assert (turns.sort(dim=1).values.diff(dim=1) > 1e-3).all()  # none twice
    coarse, _ = objective._coarse_turns(truth, generator)
    assert coarse[:, 2:].abs().max() <= math.radians(12.0) + 1e-6


def test_a_mirrored_world_has_its_pose_mirrored() -> None:
    batch = NoisePairs(2).batch(0)
    other = mirrored(batch)
    assert torch.equal(other.satellite[:, 3], batch.satellite[:, 60])  # the patch's rows go to the right
    assert torch.equal(other.ground[:, :, 5], batch.ground[:, :, 122])
    assert torch.equal(other.offset, batch.offset * torch.tensor([1.0, -1.0]))
    assert torch.equal(other.heading_error_rad, -batch.heading_error_rad)
    twice = mirrored(other)
    assert torch.equal(twice.satellite, batch.satellite)
    assert torch.equal(twice.ground, batch.ground)


def test_training_is_interrupted_and_resumed_to_the_bit(tmp_path: Path) -> None:
    def trainer(folder: str) -> Trainer[BirdsEyeMatcher]:
        model = tiny_matcher()
        settings = {"satellite_classes": 0, "ground_classes": 0, "beta2": 0.98, "validate_every": 1}
        config = tiny_config(tmp_path / folder, steps=2, **settings)

        def validation(_: BirdsEyeMatcher, __: Callable[[], bool]) -> dict[str, float]:
            if folder == "parts":
                signal.raise_signal(signal.SIGTERM)
            return {"mean_error_m": 5.0}

        return Trainer(config, model, NoisePairs(2), validation, PoseObjective(model))

    whole = trainer("whole")
    whole.run()
    assert trainer("parts").run().step == 1
    second = trainer("parts")
    second.resume()
    assert second.run().step == 2
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
    assert load_birds_eye(tmp_path / "parts" / "last.safetensors").config == TINY_BIRDS_EYE


def test_a_network_without_its_objective_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="objective of its own"):
        Trainer(tiny_config(tmp_path), tiny_matcher(), NoisePairs(2))


def test_errors_are_answer_minus_truth() -> None:
    model, batch = tiny_matcher().eval(), NoisePairs(2).batch(0)
    position, turn = evaluate_poses(model, [batch, batch])
    assert position.shape == (16, 2)
    assert torch.equal(position[:8], position[8:])
    answers = model.estimate(
        normalize_images(batch.satellite)[batch.satellite_index], normalize_images(batch.ground)[batch.ground_index]
    )
    wanted = torch.tensor(np.stack([a.pose for a in answers]), dtype=torch.float32)
    torch.testing.assert_close(position[:8], wanted[:, :2] - batch.offset * 20.0, atol=1e-3, rtol=0)
    torch.testing.assert_close(turn[:8], wanted[:, 2] - batch.heading_error_rad, atol=1e-4, rtol=0)


def test_the_network_is_made_for_the_worlds_camera() -> None:
    for size in IMAGE_SIZES.values():
        camera = Camera.perspective(size.ground_width_px, size.ground_height_px)
        config = birds_eye_config(size, virtual_camera(camera))
        assert config.cell_m == pytest.approx(0.7832)
        pixel = config.camera.ground_to_pixel((20.0, 3.0))
        assert pixel == pytest.approx(camera.project(20.0, 3.0, 0.0), abs=0.05)


def test_what_is_of_the_other_method_is_refused(tmp_path: Path) -> None:
    method = METHODS["birds_eye"]
    with pytest.raises(InputError, match="of the method geoflow"):
        method.network(IMAGE_SIZES["half"], FirstWeights(predict_orientation=True))
    with pytest.raises(InputError, match="method is 'sorcery'"):
        SyntheticTraining(out=tmp_path, method="sorcery")
    (tmp_path / "data.json").write_text('{"size": "half"}')  # from before methods had names
    with pytest.raises(InputError, match="holds a training of the method geoflow, not birds_eye"):
        train_synthetic(SyntheticTraining(out=tmp_path, method="birds_eye", steps=1, resume=True))
    assert tiny_model().config  # the other method's network is as it was


def test_errors_are_measured_with_the_camera_as_it_stood() -> None:
    model, batch = tiny_matcher().eval(), NoisePairs(2).batch(0)
    nominal = torch.tensor([[12.3, 1.65, 0.0]]).repeat(4, 1)
    same, _ = evaluate_poses(model, [replace(batch, camera=nominal)])
    torch.testing.assert_close(same, evaluate_poses(model, [batch])[0])
    other, _ = evaluate_poses(model, [replace(batch, camera=nominal + torch.tensor([2.0, 0.2, 0.01]))])
    assert (other - same).abs().max() > 1e-4  # a flat posterior: the network is not trained
