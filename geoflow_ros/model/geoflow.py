"""GeoFlow: from a camera image, a satellite patch and a guess of the position to the displacement that is left.

The network of "GeoFlow" (CVPR 2026, arXiv 2603.21943). Positions are q = (forward, right) of the camera from the
patch's centre, divided by the search radius. Tensor names are those of the authors' release.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoflow_ros.errors import InputError
from geoflow_ros.model.efficientnet import FEATURE_CHANNELS, STRIDE, EfficientNetB0

IMAGE_MEAN = (0.485, 0.456, 0.406)  # ImageNet's, RGB in [0, 1]
IMAGE_STD = (0.229, 0.224, 0.225)

_COORDINATE_CHANNELS = 16
_POSITION_PERIOD = 10000.0  # longest wavelength of the positional encoding is 2 pi times this, in tokens
_MIN_SPREAD = 1e-6  # added to variance and kappa: both stay positive


@dataclass(frozen=True)
class GeoFlowConfig:
    """What a GeoFlow network is and what it was made to look at; the defaults are the release's KITTI model.

    The sizes do not change the weights: the same network runs on any image whose sides are multiples of 32. They are
    kept because weights are good only for what they were trained on.
    """

    predict_orientation: bool = False
    model_dim: int = 128
    attention_heads: int = 4
    dropout: float = 0.1
    satellite_size_px: int = 512
    ground_height_px: int = 256
    ground_width_px: int = 1024
    ground_resolution_m: float = 0.1958  # metres per satellite pixel
    search_radius_m: float = 20.0  # metres per unit of q
    alignment: str = "forward-x"  # or "north-up"
    camera_model: str = "perspective"  # or "panorama"

    def __post_init__(self) -> None:
        if self.model_dim < 4 or self.model_dim % 4 or self.model_dim % self.attention_heads:
            raise InputError(
                f"model_dim is {self.model_dim}; it must be a multiple of 4 and of attention_heads "
                f"({self.attention_heads})"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise InputError(f"dropout is {self.dropout}; it must be in [0, 1)")
        for name in ("satellite_size_px", "ground_height_px", "ground_width_px"):
            size = getattr(self, name)
            if size < STRIDE or size % STRIDE:
                raise InputError(f"{name} is {size}; it must be a positive multiple of {STRIDE}")
        if not self.ground_resolution_m > 0.0 or not self.search_radius_m > 0.0:
            raise InputError("ground_resolution_m and search_radius_m must be positive")
        if self.alignment not in ("forward-x", "north-up"):
            raise InputError(f"alignment is {self.alignment!r}; it must be 'forward-x' or 'north-up'")
        if self.camera_model not in ("perspective", "panorama"):
            raise InputError(f"camera_model is {self.camera_model!r}; it must be 'perspective' or 'panorama'")


@dataclass(frozen=True)
class Displacement:
    """What the head says about each hypothesis q: the true position is q + r (cos, sin), with r uncertain.

    Attributes:
        mu_log_r: (B, N) mean of log r, r in search radii.
        var_log_r: (B, N) its variance.
        direction: (B, N, 2) unit vector (forward, right).
        kappa: (B, N) rate of the direction's angular error (AngMF; E|error| is about 2 / kappa rad).
        orientation: (B, N, 2) unit vector (cos, sin) of the heading error, or None.
    """

    mu_log_r: Tensor
    var_log_r: Tensor
    direction: Tensor
    kappa: Tensor
    orientation: Tensor | None


@dataclass(frozen=True)
class PairEncoding:
    """Pairs of a ground image and a satellite patch after attention.

    Attributes:
        f_vis: (B, model_dim) what the head is given of the images.
        attention: (B, Tg, Ts) weights of each ground token over the satellite tokens, averaged over the heads, before
            dropout; each row sums to 1.
    """

    f_vis: Tensor
    attention: Tensor


class CrossAttention(nn.Module):
    """Multi-head attention (Vaswani et al., 2017) whose outputs are averaged over the queries.

    The average is taken before the values and the output projection are applied, which are linear: the result is the
    same and the largest product is gone. Parameters are named and stored as in `torch.nn.MultiheadAttention`.
    """

    def __init__(self, model_dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * model_dim, model_dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * model_dim))
        self.out_proj = nn.Linear(model_dim, model_dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def queries(self, tokens: Tensor) -> Tensor:
        """Maps (B, T, D) ground tokens to (B, heads, T, D / heads) scaled queries."""
        weight, _, _ = self.in_proj_weight.chunk(3)
        bias, _, _ = self.in_proj_bias.chunk(3)
        query = self._split_heads(F.linear(tokens, weight, bias))
        return query / math.sqrt(query.shape[-1])

    def keys_and_values(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (B, T, D) satellite tokens to keys and values, each (B, heads, T, D / heads)."""
        _, key_weight, value_weight = self.in_proj_weight.chunk(3)
        _, key_bias, value_bias = self.in_proj_bias.chunk(3)
        keys = self._split_heads(F.linear(tokens, key_weight, key_bias))
        values = self._split_heads(F.linear(tokens, value_weight, value_bias))
        return keys, values

    def weights(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Returns attention weights (B, heads, Tg, Ts) without dropout; rows sum to 1."""
        return torch.softmax(queries @ keys.transpose(-2, -1), dim=-1)

    def pooled(self, weights: Tensor, values: Tensor) -> Tensor:
        """Returns the attention's output averaged over the queries, (B, D)."""
        weights = F.dropout(weights, self.dropout, self.training)
        context = weights.mean(dim=2, keepdim=True) @ values  # (B, heads, 1, D / heads)
        pooled: Tensor = self.out_proj(context.flatten(1))
        return pooled

    def _split_heads(self, tokens: Tensor) -> Tensor:
        batch, count, dim = tokens.shape
        return tokens.reshape(batch, count, self.heads, dim // self.heads).transpose(1, 2)


class GeoFlow(nn.Module):
    """The network. Images are RGB, normalised (see `normalize_images`), NCHW, sides multiples of 32."""

    def __init__(self, config: GeoFlowConfig | None = None) -> None:
        super().__init__()
        self.config = config if config is not None else GeoFlowConfig()
        dim = self.config.model_dim
        self.sat_extractor = EfficientNetB0()
        self.grd_extractor = EfficientNetB0()
        self.sat_proj = nn.Conv2d(FEATURE_CHANNELS, dim, 1)
        self.grd_proj = nn.Conv2d(FEATURE_CHANNELS, dim, 1)
        self.coord_proj = nn.Sequential(
            nn.Linear(2, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, _COORDINATE_CHANNELS),
            nn.LayerNorm(_COORDINATE_CHANNELS), nn.ReLU(),
        )  # fmt: skip
        self.cross_attention = CrossAttention(dim, self.config.attention_heads, self.config.dropout)
        joint = dim + _COORDINATE_CHANNELS
        self.decoder_r = nn.Sequential(nn.Linear(joint, 128), nn.LayerNorm(128), nn.ReLU(), nn.Linear(128, 2))
        self.decoder_theta = nn.Sequential(nn.Linear(joint, 128), nn.LayerNorm(128), nn.ReLU(), nn.Linear(128, 3))
        self.decoder_orientation: nn.Sequential | None = None
        if self.config.predict_orientation:
            self.decoder_orientation = nn.Sequential(
                nn.Linear(joint, 64), nn.LayerNorm(64), nn.ReLU(), nn.Dropout(self.config.dropout), nn.Linear(64, 2)
            )

    def satellite_features(self, satellite: Tensor) -> Tensor:
        """Maps (B, 3, P, P) normalised patches to the encoder's (B, 320, P/32, P/32)."""
        features: Tensor = self.sat_extractor(satellite)
        return features

    def ground_features(self, ground: Tensor) -> Tensor:
        """Maps (B, 3, H, W) normalised camera images to the encoder's (B, 320, H/32, W/32)."""
        features: Tensor = self.grd_extractor(ground)
        return features

    def satellite_tokens(self, satellite: Tensor) -> Tensor:
        """Maps (B, 3, P, P) normalised patches to (B, Ts, model_dim) tokens, row-major, positional encoding added."""
        return _tokens(self.sat_proj(self.satellite_features(satellite)))

    def f_vis(self, ground: Tensor, satellite_tokens: Tensor) -> Tensor:
        """Maps (B, 3, H, W) normalised camera images and their patches' tokens (B, Ts, model_dim) to (B, model_dim)."""
        attention = self.cross_attention
        queries = attention.queries(_tokens(self.grd_proj(self.ground_features(ground))))
        keys, values = attention.keys_and_values(satellite_tokens)
        return attention.pooled(attention.weights(queries, keys), values)

    def encode(self, satellite: Tensor, ground: Tensor) -> Tensor:
        """Maps (B, 3, P, P) patches and (B, 3, H, W) camera images, both normalised, to f_vis (B, model_dim)."""
        return self.f_vis(ground, self.satellite_tokens(satellite))

    def attend_pairs(
        self, satellite_features: Tensor, ground_features: Tensor, satellite_index: Tensor, ground_index: Tensor
    ) -> PairEncoding:
        """Returns the attention for any pairs of images that were encoded once: what training needs.

        Args:
            satellite_features: (S, 320, h, w) of `satellite_features`.
            ground_features: (G, 320, h, w) of `ground_features`.
            satellite_index: (B,) int64 into S.
            ground_index: (B,) int64 into G; pair b is (satellite_index[b], ground_index[b]).
        """
        attention = self.cross_attention
        queries = attention.queries(_tokens(self.grd_proj(ground_features)))
        keys, values = attention.keys_and_values(_tokens(self.sat_proj(satellite_features)))
        weights = attention.weights(queries[ground_index], keys[satellite_index])
        f_vis = attention.pooled(weights, values[satellite_index])
        return PairEncoding(f_vis=f_vis, attention=weights.mean(dim=1))

    def displace(self, f_vis: Tensor, q: Tensor) -> Displacement:
        """Predicts what is left from each hypothesis to the truth.

        Args:
            f_vis: (B, model_dim) of `encode`.
            q: (B, N, 2) hypotheses (forward, right) in search radii.
        """
        coordinates = self.coord_proj(q)
        joint = torch.cat((f_vis[:, None].expand(-1, q.shape[1], -1), coordinates), dim=-1)  # (B, N, 144)
        mu_log_r, raw_variance = self.decoder_r(joint).unbind(-1)
        theta = self.decoder_theta(joint)
        orientation = None
        if self.decoder_orientation is not None:
            orientation = F.normalize(self.decoder_orientation(joint), dim=-1)
        return Displacement(
            mu_log_r=mu_log_r,
            var_log_r=F.softplus(raw_variance) + _MIN_SPREAD,
            direction=F.normalize(theta[..., :2], dim=-1),
            kappa=F.softplus(theta[..., 2]) + _MIN_SPREAD,
            orientation=orientation,
        )

    def refine(self, f_vis: Tensor, q: Tensor, step: float) -> Tensor:
        """Refines the hypotheses once, (B, N, 2): q + step * exp(mu_log_r) * direction."""
        displacement = self.displace(f_vis, q)
        return q + step * displacement.mu_log_r.exp()[..., None] * displacement.direction

    def forward(self, satellite: Tensor, ground: Tensor, q: Tensor) -> Displacement:
        """Runs `encode`, then `displace`."""
        return self.displace(self.encode(satellite, ground), q)


def normalize_images(images: Tensor) -> Tensor:
    """Maps uint8 RGB (B, H, W, 3) to the networks' float32 input (B, 3, H, W): (value / 255 - mean) / std.

    The result keeps the pixels' order in memory, which is PyTorch's channels-last format: no copy is made for it. The
    channels come to the front before the arithmetic, as engines that work plane by plane like it, and after the change
    to floats, since TensorRT does not move bytes.
    """
    std = torch.tensor(IMAGE_STD, device=images.device)[:, None, None]
    mean = torch.tensor(IMAGE_MEAN, device=images.device)[:, None, None]
    return images.to(torch.float32).permute(0, 3, 1, 2) * (1.0 / (255.0 * std)) - mean / std


def positional_encoding(rows: int, columns: int, dim: int, device: torch.device | None = None) -> Tensor:
    """Returns fixed sinusoids of a token grid, (rows * columns, dim).

    The first half of the channels tells the column, the second half the row, sine and cosine in turn, with wavelengths
    in geometric order.
    """
    quarter = dim // 4
    exponent = torch.arange(quarter, dtype=torch.float32, device=device) / quarter
    frequency = torch.exp(-math.log(_POSITION_PERIOD) * exponent)

    def axis(count: int) -> Tensor:
        angle = torch.arange(count, dtype=torch.float32, device=device)[:, None] * frequency
        return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)  # (count, dim / 2)

    column = axis(columns)[None].expand(rows, -1, -1)
    row = axis(rows)[:, None].expand(-1, columns, -1)
    return torch.cat((column, row), dim=-1).reshape(rows * columns, dim)


def _tokens(projected: Tensor) -> Tensor:
    """Maps (B, D, h, w) to (B, h * w, D), row-major, with the positional encoding added."""
    _, dim, rows, columns = projected.shape
    tokens = projected.flatten(2).transpose(1, 2)
    return tokens + positional_encoding(rows, columns, dim, projected.device).to(tokens.dtype)
