"""GeoFlow in torch, made ready for inference: batch norms folded, encoders in a reduced precision where asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from geoflow_ros.bundle.bundle import Bundle, sha256_of
from geoflow_ros.bundle.manifest import CHECKPOINT_FOLDER, Manifest
from geoflow_ros.errors import BundleError, InputError
from geoflow_ros.model import GeoFlow, load_checkpoint
from geoflow_ros.model.geoflow import IMAGE_MEAN, IMAGE_STD

MOVED = slice(5, 7)
"""Where the moved hypotheses are in the last axis of `InferenceNetwork.head`'s answer."""


class InferenceNetwork(nn.Module):
    """GeoFlow with encoders of one precision, made ready for inference on a device."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: GeoFlow, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        model.eval()
        for name in ("sat_extractor", "grd_extractor"):
            setattr(model, name, _Encoder(getattr(model, name), dtype))
        self.model = model
        self.feature_size = model.config.model_dim
        self.device = device
        # Constants on the device: a CUDA graph cannot fetch those of `model.normalize_images`.
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN))
        self.register_buffer("std", torch.tensor(IMAGE_STD))
        self.to(device)

    def satellite_tokens(self, satellite: Tensor) -> Tensor:
        """Returns the tokens (B, T, d) of patches (B, P, P, 3) uint8."""
        return self.model.satellite_tokens(self._normalized(satellite))

    def f_vis(self, ground: Tensor, tokens: Tensor) -> Tensor:
        """Returns the joint feature (B, d) of camera images (B, H, W, 3) uint8 and tokens (B, T, d)."""
        return self.model.f_vis(self._normalized(ground), tokens)

    def head(self, f_vis: Tensor, hypotheses: Tensor, step: Tensor | float) -> Tensor:
        """Returns the displacements of hypotheses (B, N, 2) and where they are moved, side by side.

        One tensor is one copy from the device: (B, N, 7), mu_log_r, var_log_r, kappa, direction and refined; (B, N, 9)
        with an orientation.
        """
        displacement = self.model.displace(f_vis, hypotheses)
        moved = hypotheses + step * displacement.mu_log_r.exp()[..., None] * displacement.direction
        scalars = torch.stack((displacement.mu_log_r, displacement.var_log_r, displacement.kappa), dim=-1)
        parts = [scalars, displacement.direction, moved]
        return torch.cat(parts if displacement.orientation is None else [*parts, displacement.orientation], dim=-1)

    def _normalized(self, images: Tensor) -> Tensor:
        """Returns (B, 3, H, W) float32, channels last in memory, of (B, H, W, 3) uint8."""
        return ((images.to(torch.float32) / 255.0 - self.mean) / self.std).permute(0, 3, 1, 2)


class _Encoder(nn.Module):
    """An encoder with batch norms folded into its convolutions, in a precision of its own."""

    def __init__(self, encoder: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        _fold_batch_norms(encoder)
        self.encoder = encoder.to(dtype)
        for parameter in self.encoder.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.dtype = dtype

    def forward(self, image: Tensor) -> Tensor:
        """Returns features in float32 of images (B, 3, H, W) in float32."""
        features: Tensor = self.encoder(image.to(self.dtype))
        return features.to(torch.float32)


def _fold_batch_norms(module: nn.Module) -> None:
    """Puts every batch norm into the convolution that stands before it, which is the one that it normalizes."""
    before = ""
    for name, child in list(module.named_children()):
        _fold_batch_norms(child)
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, before, fuse_conv_bn_eval(getattr(module, before), child))
            setattr(module, name, nn.Identity())
        before = name


def checkpoint_of(bundle: Bundle) -> Path:
    """Returns the folder of a bundle's checkpoint, whose bytes are those that the manifest names.

    Raises:
        InputError: the bundle came without it.
        BundleError: it has other bytes.
    """
    folder, manifest = bundle.path / CHECKPOINT_FOLDER, bundle.manifest
    if not folder.is_dir():
        raise InputError(
            f"{bundle.path} came without the folder {CHECKPOINT_FOLDER}/ that torch runs from: export it with "
            "`geoflow export --with-checkpoint`, or choose another back end"
        )
    for name in sorted({*manifest.checkpoint, *(path.name for path in folder.iterdir())}):
        path = folder / name
        if not path.is_file() or sha256_of(path) != manifest.checkpoint.get(name):
            raise BundleError(f"{path} is not the file of the bundle's manifest: copy or export the bundle again")
    return folder


def network_of(bundle: Bundle) -> GeoFlow:
    """Loads the network of the bundle's checkpoint, whose bytes and sizes are those that the manifest names.

    Raises:
        InputError: the bundle came without it.
        BundleError: it has other bytes or sizes.
        CheckpointError: it cannot be read.
    """
    folder, manifest = checkpoint_of(bundle), bundle.manifest
    model = load_checkpoint(folder)
    differences = [name for name, (wanted, found) in _sizes(manifest, model).items() if wanted != found]
    if differences:
        raise BundleError(f"{folder} has another {', '.join(differences)} than the bundle: export the bundle again")
    return model


def _sizes(manifest: Manifest, model: GeoFlow) -> dict[str, tuple[Any, Any]]:
    """What must be the same in manifest and checkpoint."""
    config = model.config
    return {
        "satellite size": (manifest.satellite.size_px, config.satellite_size_px),
        "ground resolution": (manifest.satellite.ground_resolution_m, config.ground_resolution_m),
        "ground height": (manifest.ground.height_px, config.ground_height_px),
        "ground width": (manifest.ground.width_px, config.ground_width_px),
        "search radius": (manifest.search_radius_m, config.search_radius_m),
        "alignment": (manifest.alignment, config.alignment),
        "feature size": (manifest.feature_size, config.model_dim),
        "head": (manifest.has_orientation, config.predict_orientation),
    }
