"""What is particular to the torch back end: where its weights come from, and what it cannot have here."""

import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from geoflow_ros.backends import BackendOptions, open_backend
from geoflow_ros.backends.protocol import FrameOutput  # noqa: E402
from geoflow_ros.backends.torch_backend import TorchBackend  # noqa: E402
from geoflow_ros.bundle import Bundle
from geoflow_ros.bundle.bundle import sha256_of  # noqa: E402
from geoflow_ros.errors import BackendError, BundleError, InputError  # noqa: E402
from geoflow_ros.inference.irs import sample_hypotheses  # noqa: E402
from geoflow_ros.inference.posterior import probe_grid  # noqa: E402
from geoflow_ros.model import load_checkpoint, save_float16_parts  # noqa: E402

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "synthetic"


@pytest.fixture
def bundle(tmp_path) -> Bundle:
    """A copy of the shipped bundle that may be spoiled."""
    return Bundle.load(shutil.copytree(SHIPPED, tmp_path / "synthetic"))


def frame_of(backend: TorchBackend, manifest, hypotheses: int = 10, iterations: int = 5) -> FrameOutput:
    size, ground = manifest.satellite.size_px, manifest.ground
    generator = np.random.default_rng(0)
    tokens = backend.satellite_tokens(generator.integers(0, 256, (1, size, size, 3), dtype=np.uint8))
    image = generator.integers(0, 256, (1, ground.height_px, ground.width_px, 3), dtype=np.uint8)
    image.setflags(write=False)  # as the bytes of a message are
    return backend.frame(image, tokens, sample_hypotheses(1, hypotheses, 0), probe_grid(), 0.5, iterations)


def test_a_bundle_without_checkpoint_says_how_to_get_one(bundle):
    shutil.rmtree(bundle.path / "checkpoint")
    with pytest.raises(InputError, match="geoflow export --with-checkpoint"):
        TorchBackend(bundle)


def test_a_checkpoint_of_other_bytes_is_refused(bundle):
    name = next(path.name for path in (bundle.path / "checkpoint").glob("*.safetensors"))
    checksums = {**bundle.manifest.checkpoint, name: "0" * 64}
    listed = replace(bundle, manifest=replace(bundle.manifest, checkpoint=checksums))
    with pytest.raises(BundleError, match=name):
        TorchBackend(listed)
    (bundle.path / "checkpoint" / name).unlink()
    with pytest.raises(BundleError, match=name):
        TorchBackend(listed)


def test_a_checkpoint_of_another_size_is_refused(bundle, converging_checkpoint):
    shutil.rmtree(bundle.path / "checkpoint")
    save_float16_parts(load_checkpoint(converging_checkpoint), bundle.path / "checkpoint")
    digests = {path.name: sha256_of(path) for path in (bundle.path / "checkpoint").iterdir()}
    listed = replace(bundle, manifest=replace(bundle.manifest, checkpoint=digests))
    with pytest.raises(BundleError, match="satellite size, ground resolution, .*head"):
        TorchBackend(listed)


def test_weights_that_the_manifest_does_not_name_are_refused(bundle):
    unlisted = replace(bundle, manifest=replace(bundle.manifest, checkpoint={}))
    with pytest.raises(BundleError, match="not the file of the bundle's manifest"):
        TorchBackend(unlisted)


def test_threads_are_torchs(bundle):
    before = torch.get_num_threads()
    try:
        open_backend(bundle, BackendOptions("torch", threads=1, device="cpu"))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("device", "precision", "reason"),
    [
        ("cpu", "fp16", "choose fp32 or bf16"),
        ("cpu", "int8", "precision is 'int8'"),
        ("abacus", "fp32", "'abacus' is not a device"),
        ("meta", "fp32", "'meta' is not supported"),
        ("cuda:99", "fp32", "cuda:99"),
    ],
)
def test_what_cannot_be_had_here_is_refused_in_one_line(bundle, device, precision, reason):
    with pytest.raises(InputError, match=reason) as error:
        TorchBackend(bundle, device, precision)
    assert "\n" not in str(error.value)


def test_the_network_that_it_is_made_of_stays_as_it_was(converging_checkpoint):
    model = load_checkpoint(converging_checkpoint)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    TorchBackend(model, precision="bf16")
    after = model.state_dict()
    assert set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_memory_of_many_shapes_is_given_back(bundle):
    backend = TorchBackend(bundle)
    for hypotheses in range(1, 13):  # more than are kept
        assert frame_of(backend, bundle.manifest, hypotheses, 2).path.shape == (3, 1, hypotheses, 2)
    again = frame_of(backend, bundle.manifest, 1, 2)
    assert np.array_equal(again.path[0], sample_hypotheses(1, 1, 0))


def test_images_that_may_not_be_written_to_are_taken_without_complaint(bundle):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(frame_of(TorchBackend(bundle), bundle.manifest).path).all()


def test_a_failure_inside_torch_is_told_in_one_line_and_the_next_frame_answered(bundle):
    backend = TorchBackend(bundle)
    good = frame_of(backend, bundle.manifest).path
    with pytest.raises(BackendError, match="torch failed on cpu") as error:
        backend.head(np.zeros((1, 7), np.float32), np.zeros((1, 3, 2), np.float32), 0.5)  # features of another width
    assert "\n" not in str(error.value)
    np.testing.assert_allclose(frame_of(backend, bundle.manifest).path, good, atol=1e-5)
