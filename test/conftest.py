"""What several test files share: one small bundle, really exported, of a network that converges."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

# Threads that wait for their next piece of work sleep: where several processes share two cores, waiting in a loop takes
# the time of those that have work. Read when torch and OpenCV are loaded, here and in every process that a test starts.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: each keeps to one of them
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from geoflow_ros.bundle import Bundle
from geoflow_ros.files import locked

SHIPPED = Path(__file__).resolve().parents[1] / "models" / "synthetic"

# Where the network of `converging_bundle` thinks that every camera is: (forward, right) in metres.
TAUGHT_OFFSET_M = (6.0, -3.0)


def pytest_configure() -> None:
    """A shell that starts the tests in its background ignores SIGINT, and so would every child that they interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What back ends compile and time is kept for all tests, and nothing of it in the user's cache.
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="geoflow-tests-")


def pytest_unconfigure() -> None:
    """Removes the tests' cache."""
    shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)


def once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Path]) -> Path:
    """What is made once for all processes of a test run: the first that needs it makes it, the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / name
    folder.mkdir(exist_ok=True)
    with locked(folder):
        note = folder / "made.txt"
        if not note.exists():
            note.write_text(str(make(folder)), encoding="utf-8")
        return Path(note.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def converging_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small-image GeoFlow whose head was taught, for any image, that the camera is at `TAUGHT_OFFSET_M`.

    Random weights send the hypotheses out of the patch; this network behaves as a trained one does, within seconds.
    """
    pytest.importorskip("torch", reason="needs torch (the extra [train])")
    return once(tmp_path_factory, "checkpoint", _write_converging_checkpoint)


def _write_converging_checkpoint(folder: Path) -> Path:
    import torch

    from geoflow_ros.model import GeoFlow, GeoFlowConfig, save_checkpoint

    config = GeoFlowConfig(
        predict_orientation=True,
        satellite_size_px=128,
        ground_height_px=64,
        ground_width_px=256,
        ground_resolution_m=0.7832,
    )
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GeoFlow(config)
    truth = torch.tensor(TAUGHT_OFFSET_M) / config.search_radius_m
    head = [weight for name, weight in model.named_parameters() if name.startswith(("coord_proj", "decoder"))]
    optimizer = torch.optim.Adam(head, lr=5e-3)
    for _ in range(300):
        f_vis = torch.randn(16, config.model_dim, generator=generator) * 0.3
        q = torch.rand(16, 32, 2, generator=generator) * 2.0 - 1.0
        displacement = model.displace(f_vis, q)
        offset = truth - q
        distance = offset.norm(dim=-1).clamp_min(1e-3)
        log_r_error = distance.log() - displacement.mu_log_r
        cosine = (offset / distance[..., None] * displacement.direction).sum(-1).clamp(-1.0 + 1e-6, 1.0 - 1e-6)
        kappa = displacement.kappa
        loss = 0.5 * (log_r_error**2 / displacement.var_log_r + displacement.var_log_r.log())
        loss = loss - (kappa**2 + 1.0).log() + kappa * cosine.acos() + torch.log1p(torch.exp(-kappa * torch.pi))
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    return save_checkpoint(model.eval(), folder / "converging.safetensors", {"data": "one offset"})


@pytest.fixture(scope="session")
def converging_bundle(converging_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported bundle of `converging_checkpoint`: P = 128 px, ground 64 x 256, with the orientation head."""
    from geoflow_ros.export import export_bundle

    return once(tmp_path_factory, "models", lambda folder: export_bundle(converging_checkpoint, folder / "converging"))


@pytest.fixture(scope="session")
def small_bundle(converging_bundle: Path) -> Bundle:
    """The bundle in `converging_bundle`, verified once; not to be written to."""
    return Bundle.load(converging_bundle)


@pytest.fixture(scope="session")
def shipped_bundle() -> Bundle:
    """The bundle that the package comes with, verified once; not to be written to."""
    return Bundle.load(SHIPPED)
