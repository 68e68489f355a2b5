"""`geoflow export`: a checkpoint becomes a bundle that is known to answer as the checkpoint does."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from geoflow_ros.bundle.bundle import Bundle, sha256_of
from geoflow_ros.bundle.calibration import Calibration
from geoflow_ros.bundle.irs_settings import IrsSettings
from geoflow_ros.bundle.manifest import CHECKPOINT_FOLDER, FILE_NAME, CameraModel, GroundInput, Manifest, SatelliteInput
from geoflow_ros.bundle.methods import BIRDS_EYE, expected_tensors
from geoflow_ros.bundle.pose_calibration import PoseCalibrations
from geoflow_ros.errors import CheckpointError, InputError
from geoflow_ros.export.birds_eye import birds_eye_manifest, check_birds_eye_parity
from geoflow_ros.export.graphs import graph_module, write_graph
from geoflow_ros.export.parity import check_parity
from geoflow_ros.files import replace_folder
from geoflow_ros.model import (
    BirdsEyeMatcher,
    DenseFlow,
    GeoFlow,
    GeoFlowConfig,
    load_checkpoint,
    read_metadata,
)
from geoflow_ros.model.checkpoint import DENSE_FLOW, load_birds_eye_network, method_of, save_float16_parts


def export_bundle(
    checkpoint: Path,
    out: Path,
    *,
    name: str | None = None,
    calibration: Calibration | None = None,
    pose_calibration: PoseCalibrations | None = None,
    training: Mapping[str, Any] | None = None,
    figures: Mapping[str, Any] | None = None,
    irs: IrsSettings | None = None,
    camera: CameraModel | None = None,
    config: GeoFlowConfig | None = None,
    with_checkpoint: bool = False,
) -> Path:
    """Writes the bundle `out` and compares it with the checkpoint. The folder appears whole or not at all.

    Args:
        checkpoint: ours, or the authors' (see `load_checkpoint`).
        out: folder of the bundle; one that holds a bundle is replaced.
        name: of the model; the folder's name where None.
        calibration: of GeoFlow's covariance; not calibrated where None.
        pose_calibration: of a bird's-eye posterior's covariance; not calibrated where None.
        training: on what and how it was trained; what the checkpoint's JSON says where None.
        figures: what it reached, with the evaluation's keys.
        irs: GeoFlow's default hypotheses, iterations and step.
        camera: that GeoFlow was trained with; where None, images of the ground input's own aspect ratio. Give it for
            data that were squeezed into the ground input (KITTI's 1242 x 375 into 1024 x 256).
        config: sizes, scale and alignment of an authors' checkpoint, which does not carry them: the KITTI model's
            where None. Our checkpoints carry their own.
        with_checkpoint: also put the weights into the bundle, as float16 parts in `checkpoint/`, to train on from and
            for the torch back end. The graphs are then made of the weights so rounded: both hold the same numbers.

    Returns:
        `out`.

    Raises:
        CheckpointError: the checkpoint cannot be used, or `config` was given for one that carries its own.
        InputError: a camera or a configuration for a bird's-eye checkpoint; or `out` is something else than a bundle,
            or cannot be written; or the checkpoint lies in it and would be lost.
        BundleError: the graphs do not answer as the checkpoint does.
    """
    checkpoint, out = Path(checkpoint), Path(out)
    _check_target(out)
    if not with_checkpoint and out.resolve() in checkpoint.resolve().parents:
        raise InputError(f"{checkpoint} lies in {out}, which is replaced: add --with-checkpoint, or name another --out")
    training = read_metadata(checkpoint) if training is None else training
    described = {"name": name or out.resolve().name, "training": dict(training), "figures": dict(figures or {})}
    if method_of(checkpoint) in (BIRDS_EYE, DENSE_FLOW):
        _refuse_given(checkpoint, camera, config)
        source = _birds_eye_source(checkpoint, described, pose_calibration)
    else:
        model = _configured(load_checkpoint(checkpoint), checkpoint, config)
        source = _Source(model, partial(_manifest, described, calibration, irs or IrsSettings(), camera))
    try:
        with _folder_beside(out) as folder:
            _write(folder, source, with_checkpoint)
            replace_folder(folder, out)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror or error}): make room or choose another") from error
    return out


class _Source(NamedTuple):
    """A network, and what makes the manifest of one with the same inputs."""

    model: GeoFlow | BirdsEyeMatcher | DenseFlow
    describe: Callable[[Any], Manifest]


def _refuse_given(checkpoint: Path, camera: CameraModel | None, config: GeoFlowConfig | None) -> None:
    if camera is not None or config is not None:
        raise InputError(f"{checkpoint} carries its own camera and sizes: leave out those given for the export")


def _birds_eye_source(checkpoint: Path, described: Mapping[str, Any], calibration: PoseCalibrations | None) -> _Source:
    describe = partial(birds_eye_manifest, described, calibration or PoseCalibrations())
    model = load_birds_eye_network(checkpoint)
    if isinstance(model, DenseFlow) and model.flow_config.without:
        raise InputError(f"{checkpoint} was trained without {model.flow_config.without}, to measure what it gives")
    return _Source(model, describe)


@contextmanager
def _folder_beside(out: Path) -> Iterator[Path]:
    """A folder on the same disk as `out`, which is gone after the block unless it was renamed."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, source: _Source, with_checkpoint: bool) -> None:
    """Writes all files of the bundle and compares what they answer with the model.

    Raises:
        BundleError: they do not answer as the model does.
        OSError: they cannot be written.
    """
    model, describe = source
    manifest = describe(model)
    if with_checkpoint:
        weights = folder / CHECKPOINT_FOLDER
        save_float16_parts(model, weights, manifest.training)
        model = load_birds_eye_network(weights) if manifest.method == BIRDS_EYE else load_checkpoint(weights)
        manifest = describe(model)  # of the weights so rounded
    for graph in manifest.graphs:
        write_graph(graph_module(model, graph), graph, manifest.tensors[graph], folder / f"{graph}.onnx")
    files = {f"{graph}.onnx": sha256_of(folder / f"{graph}.onnx") for graph in manifest.graphs}
    parts = {path.name: sha256_of(path) for path in sorted((folder / CHECKPOINT_FOLDER).glob("*"))}
    (folder / FILE_NAME).write_text(replace(manifest, files=files, checkpoint=parts).to_json(), encoding="utf-8")
    if isinstance(model, BirdsEyeMatcher | DenseFlow):
        check_birds_eye_parity(model, Bundle.load(folder))
    else:
        check_parity(model, Bundle.load(folder))


def _configured(model: GeoFlow, checkpoint: Path, config: GeoFlowConfig | None) -> GeoFlow:
    """The model with the inputs of `config`, which do not change its weights."""
    if config is None:
        return model
    if checkpoint.is_dir() or checkpoint.suffix == ".safetensors":
        raise CheckpointError(f"{checkpoint} carries its own sizes: leave out those given for the export")
    if (config.model_dim, config.attention_heads) != (model.config.model_dim, model.config.attention_heads):
        raise CheckpointError(f"{checkpoint} has width {model.config.model_dim}, not {config.model_dim}")
    configured = GeoFlow(replace(config, predict_orientation=model.config.predict_orientation))
    configured.load_state_dict(model.state_dict())
    return configured.eval()


def _manifest(
    described: Mapping[str, Any],
    calibration: Calibration | None,
    irs: IrsSettings,
    camera: CameraModel | None,
    model: GeoFlow,
) -> Manifest:
    """Without the files' checksums, which are known after writing."""
    config = model.config
    aspect_ratio = config.ground_width_px / config.ground_height_px
    if camera is not None and camera.model != config.camera_model:
        raise InputError(f"the camera is {camera.model}, but the checkpoint is for {config.camera_model} images")
    return Manifest(
        **described,
        satellite=SatelliteInput(config.satellite_size_px, config.ground_resolution_m),
        ground=GroundInput(config.ground_height_px, config.ground_width_px),
        camera=camera or CameraModel(config.camera_model, None, aspect_ratio),
        search_radius_m=config.search_radius_m,
        alignment=config.alignment,
        direction_family="angmf",
        irs=irs,
        calibration=calibration or Calibration.unfitted(config.ground_resolution_m),
        tensors=expected_tensors(
            config.satellite_size_px,
            config.ground_height_px,
            config.ground_width_px,
            config.model_dim,
            config.predict_orientation,
        ),
        files={},
    )


def _check_target(out: Path) -> None:
    """Nothing but a bundle or an empty folder is ever replaced."""
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out} is a file: name a folder for the bundle")
    if any(out.iterdir()) and not (out / FILE_NAME).is_file():
        raise InputError(f"{out} holds something else than a model bundle: name another folder")
