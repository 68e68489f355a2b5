"""`geoflow export`: a checkpoint becomes a bundle that is known to answer as the checkpoint does."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoflow_ros.bundle.bundle import Bundle, sha256_of
from geoflow_ros.bundle.calibration import Calibration
from geoflow_ros.bundle.irs_settings import IrsSettings
from geoflow_ros.bundle.manifest import CHECKPOINT_FOLDER, FILE_NAME, CameraModel, GroundInput, Manifest, SatelliteInput
from geoflow_ros.bundle.methods import BIRDS_EYE, GRAPHS, expected_tensors
from geoflow_ros.errors import CheckpointError, InputError
from geoflow_ros.export.graphs import write_graph
from geoflow_ros.export.parity import check_parity
from geoflow_ros.files import replace_folder
from geoflow_ros.model import GeoFlow, GeoFlowConfig, load_checkpoint, read_metadata
from geoflow_ros.model.checkpoint import method_of, save_float16_parts


def export_bundle(
    checkpoint: Path,
    out: Path,
    *,
    name: str | None = None,
    calibration: Calibration | None = None,
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
        calibration: of the covariance; not calibrated where None.
        training: on what and how it was trained; what the checkpoint's JSON says where None.
        figures: what it reached, with the evaluation's keys.
        irs: default hypotheses, iterations and step.
        camera: that it was trained with; where None, images of the ground input's own aspect ratio. Give it for data
            that were squeezed into the ground input (KITTI's 1242 x 375 into 1024 x 256).
        config: sizes, scale and alignment of an authors' checkpoint, which does not carry them: the KITTI model's
            where None. Our checkpoints carry their own.
        with_checkpoint: also put the weights into the bundle, as float16 parts in `checkpoint/`, to train on from and
            for the torch back end. The graphs are then made of the weights so rounded: both hold the same numbers.

    Returns:
        `out`.

    Raises:
        CheckpointError: the checkpoint cannot be used, or `config` was given for one that carries its own.
        InputError: `out` is something else than a bundle, or cannot be written; or the checkpoint lies in it and would
            be lost.
        BundleError: the graphs do not answer as the checkpoint does.
    """
    checkpoint, out = Path(checkpoint), Path(out)
    _check_target(out)
    if not with_checkpoint and out.resolve() in checkpoint.resolve().parents:
        raise InputError(f"{checkpoint} lies in {out}, which is replaced: add --with-checkpoint, or name another --out")
    model = _configured(_loaded(checkpoint), checkpoint, config)
    manifest = _manifest(
        name if name is not None else out.resolve().name,
        model.config,
        calibration=calibration,
        training=read_metadata(checkpoint) if training is None else training,
        figures=figures or {},
        irs=irs or IrsSettings(),
        camera=camera,
    )
    try:
        with _folder_beside(out) as folder:
            _write(folder, model, manifest, with_checkpoint)
            replace_folder(folder, out)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror or error}): make room or choose another") from error
    return out


def _loaded(checkpoint: Path) -> GeoFlow:
    if method_of(checkpoint) == BIRDS_EYE:
        raise CheckpointError(f"{checkpoint}: bundles of {BIRDS_EYE} models cannot be written yet")
    return load_checkpoint(checkpoint)


@contextmanager
def _folder_beside(out: Path) -> Iterator[Path]:
    """A folder on the same disk as `out`, which is gone after the block unless it was renamed."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, model: GeoFlow, manifest: Manifest, with_checkpoint: bool) -> None:
    """Writes all files of the bundle and compares what they answer with the model.

    Raises:
        BundleError: they do not answer as the model does.
        OSError: they cannot be written.
    """
    if with_checkpoint:
        save_float16_parts(model, folder / CHECKPOINT_FOLDER, manifest.training)
        model = load_checkpoint(folder / CHECKPOINT_FOLDER)
    for graph in GRAPHS:
        write_graph(model, graph, manifest.tensors[graph], folder / f"{graph}.onnx")
    files = {f"{graph}.onnx": sha256_of(folder / f"{graph}.onnx") for graph in GRAPHS}
    weights = {path.name: sha256_of(path) for path in sorted((folder / CHECKPOINT_FOLDER).glob("*"))}
    (folder / FILE_NAME).write_text(replace(manifest, files=files, checkpoint=weights).to_json(), encoding="utf-8")
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
    name: str,
    config: GeoFlowConfig,
    *,
    calibration: Calibration | None,
    training: Mapping[str, Any],
    figures: Mapping[str, Any],
    irs: IrsSettings,
    camera: CameraModel | None,
) -> Manifest:
    """Without the files' checksums, which are known after writing."""
    aspect_ratio = config.ground_width_px / config.ground_height_px
    if camera is not None and camera.model != config.camera_model:
        raise InputError(f"the camera is {camera.model}, but the checkpoint is for {config.camera_model} images")
    return Manifest(
        name=name,
        satellite=SatelliteInput(config.satellite_size_px, config.ground_resolution_m),
        ground=GroundInput(config.ground_height_px, config.ground_width_px),
        camera=camera or CameraModel(config.camera_model, None, aspect_ratio),
        search_radius_m=config.search_radius_m,
        alignment=config.alignment,
        direction_family="angmf",
        irs=irs,
        calibration=calibration or Calibration.unfitted(config.ground_resolution_m),
        training=dict(training),
        figures=dict(figures),
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
