"""Runners of a bundle's graphs by name."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.bundle import write_bundle

from geoflow_ros.backends import BackendOptions, OnnxRuntimeBackend, open_runner
from geoflow_ros.bundle import Bundle
from geoflow_ros.errors import BackendError, InputError


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.load(write_bundle(tmp_path_factory.mktemp("bundles")))


def test_a_runner_gives_every_output_of_a_graph_by_its_name(colours: Bundle) -> None:
    runner = open_runner(colours, BackendOptions("onnxruntime", threads=1))
    generator = np.random.default_rng(3)
    feed = {
        "f_vis": generator.normal(size=(2, 128)).astype(np.float32),
        "hypotheses": generator.uniform(-1.0, 1.0, (2, 5, 2)).astype(np.float32),
        "step": np.float32(0.5),
    }
    found = runner.run("head", {name: np.asarray(value) for name, value in feed.items()})
    wanted = OnnxRuntimeBackend(colours).head(feed["f_vis"], feed["hypotheses"], 0.5)
    assert set(found) == {"mu_log_r", "var_log_r", "direction", "kappa", "refined"}
    for name, value in found.items():
        np.testing.assert_allclose(value, getattr(wanted, name), atol=1e-6)


def test_inputs_of_another_shape_fail_in_one_line(colours: Bundle) -> None:
    runner = open_runner(colours)
    with pytest.raises(BackendError, match="onnxruntime failed") as caught:
        runner.run("satellite_encoder", {"satellite": np.zeros((1, 3, 3, 3), np.uint8)})
    assert "\n" not in str(caught.value)


def test_a_precision_that_the_runner_has_not_is_refused(colours: Bundle) -> None:
    with pytest.raises(InputError, match="fp32 here, not in bf16"):
        open_runner(colours, BackendOptions(precision="bf16"))
