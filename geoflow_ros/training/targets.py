"""What only a synthetic world knows of its pictures: where each ground token's pixels lie on the satellite patch."""

from __future__ import annotations

import torch

from geoflow_ros.model.efficientnet import STRIDE
from geoflow_ros.world.camera import Camera

_PROBE = 4  # every so many pixels of a frame, one counts
_MIN_SEEN_SHARE = 0.125  # a token that sees less of the patch (sky, far away) teaches nothing certain
_SKY_M = 1e6  # as a distance: beyond any patch


def attention_target(
    camera: Camera,
    depth_m: torch.Tensor,
    ground_index: torch.Tensor,
    offset_m: torch.Tensor,
    heading_error_rad: torch.Tensor,
    satellite_size: int,
    ground_resolution_m: float,
    azimuth_rad: torch.Tensor | None = None,
) -> torch.Tensor:
    """Returns the (B, Tg, Ts) share of each ground token's pixels that see each satellite token's cell.

    The depth of every pixel is known, so the point it sees is known on the patch: bearing in the patch frame is the
    camera's azimuth plus the heading error (the patch is turned by that much to the left of the vehicle).

    Args:
        camera: of all frames.
        depth_m: (G, H, W) float32, infinite for sky.
        ground_index: (B,) int64 into G.
        offset_m: (B, 2) forward and right of the camera in the patch.
        heading_error_rad: (B,).
        satellite_size: side of the patches in pixels.
        ground_resolution_m: metres per patch pixel.
        azimuth_rad: (G, H, W) where every pixel of each frame looks; None where all frames are exactly the camera's.
    """
    device = depth_m.device
    d = depth_m[:, _PROBE // 2 :: _PROBE, _PROBE // 2 :: _PROBE][ground_index]  # (B, h, w)
    b, h, w = d.shape
    if azimuth_rad is None:
        azimuth = torch.from_numpy(camera.azimuth_rad[_PROBE // 2 :: _PROBE].copy()).to(device)[None, None]
    else:
        azimuth = azimuth_rad[:, _PROBE // 2 :: _PROBE, _PROBE // 2 :: _PROBE][ground_index]
    bearing = azimuth + heading_error_rad[:, None, None]
    far = torch.where(torch.isfinite(d), d, torch.full_like(d, _SKY_M))
    forward = offset_m[:, 0, None, None] + far * torch.cos(bearing)
    right = offset_m[:, 1, None, None] + far * torch.sin(bearing)
    cells = satellite_size // STRIDE
    cell_m = STRIDE * ground_resolution_m
    column = torch.floor(forward / cell_m + cells / 2)
    row = torch.floor(right / cell_m + cells / 2)
    inside = (column >= 0) & (column < cells) & (row >= 0) & (row < cells)
    cell = (row * cells + column).clamp(0, cells * cells - 1).long()
    per = STRIDE // _PROBE
    tokens_w = w // per
    token = (torch.arange(h, device=device) // per)[:, None] * tokens_w + (torch.arange(w, device=device) // per)[None]
    tokens = (h // per) * tokens_w
    flat = (torch.arange(b, device=device)[:, None, None] * tokens + token[None]) * (cells * cells) + cell
    counts = torch.zeros(b * tokens * cells * cells, device=device)
    counts.index_add_(0, flat.reshape(-1), inside.reshape(-1).float())
    counts = counts.reshape(b, tokens, cells * cells)
    total = counts.sum(-1, keepdim=True)
    return torch.where(total >= _MIN_SEEN_SHARE * per * per, counts / total.clamp(min=1), torch.zeros_like(counts))
