"""What happens to light between the windscreen and the image: motion blur, dirt, exposure, colour and noise."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from geoflow_ros.arrays import Float32Array, UInt8Array
from geoflow_ros.world.optics import CameraImage

_FEW_TAPS, _TAPS, _SHORT_PX = 3, 5, 3.0  # pictures that a blurred one is the mean of; few up to this displacement
_STILL_PX = 0.35  # a displacement that blurs less than the pixels themselves
_NEAREST_M = 1.0  # what is nearer moves as if it were there

_SPOT_PX = (0.03, 0.16)  # radius of spots on the lens, as shares of the image's height
_SPOT_OPACITY = (0.35, 0.9)
_DIRT = np.array([112.0, 106.0, 98.0], np.float32)  # out of focus, dust is a grey brown veil
_VEIL = 0.35  # of a spot's colour: its own; the rest is the smeared image behind it
_SMEAR = 0.07  # blur behind a spot, as a share of the image's height
_MOST_SPOTS = 60

_SHOT_SHARE = 0.6  # of a mid-grey pixel's noise variance that grows with the light; the rest is the amplifier's
_GREY_SHARE = 0.8  # of the noise's standard deviation: the same in all colours
_TILE = 1024  # pixels
_MID_GREY = 110.0


def motion_flow(image: CameraImage, forward_m: float, turn_rad: float, focal_px: float) -> tuple[Float32Array, ...]:
    """Returns by how many pixels (columns, rows) each pixel's content moves while the vehicle does.

    What is ahead streams away from the focus of expansion, the faster the nearer; turning to the right moves everything
    to the left.

    Args:
        image: at the middle of the exposure, with its depth.
        forward_m: the way driven.
        turn_rad: turned to the right.
        focal_px: of the camera, pixels.
    """
    right = np.tan(image.azimuth_rad)
    down = -image.slope * np.sqrt(1 + right**2)
    ahead = np.maximum(image.depth_m * np.cos(image.azimuth_rad), _NEAREST_M)
    stream = np.float32(forward_m) / ahead  # 0 in the sky
    column = focal_px * (right * stream - np.float32(turn_rad) * (1 + right**2))
    row = focal_px * (down * stream - np.float32(turn_rad) * right * down)
    return column.astype(np.float32), row.astype(np.float32)


def motion_blur(image: CameraImage, forward_m: float, turn_rad: float, focal_px: float) -> UInt8Array:
    """Returns the image (H, W, 3) of an exposure during which the vehicle moves; its middle is the image's moment.

    Edges before a far background are blurred as the pixel behind them moves, not as the edge does.
    """
    flow = motion_flow(image, forward_m, turn_rad, focal_px)
    longest = max(float(np.abs(f).max()) for f in flow)
    if longest < _STILL_PX:
        return image.rgb
    taps = _FEW_TAPS if longest < _SHORT_PX else _TAPS
    column, row = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in image.size[::-1]))
    total = np.full(image.rgb.shape, taps // 2, np.uint16)  # so that the mean is rounded
    for part in np.linspace(-0.5, 0.5, taps, dtype=np.float32):
        shifted = (column + part * flow[0], row + part * flow[1])
        total += np.asarray(cv2.remap(image.rgb, *shifted, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)
    return (total // taps).astype(np.uint8)


def dirt(rgb: UInt8Array, cover: float, rng: np.random.Generator) -> UInt8Array:
    """Returns an image (H, W, 3) behind spots of dirt and water, which smear and veil what is behind them.

    Args:
        rgb: clean.
        cover: part of the image that the spots cover, by and large.
        rng: draws where they are.
    """
    h, w = rgb.shape[:2]
    mask = np.zeros((h, w), np.float32)
    covered = 0.0
    for _ in range(_MOST_SPOTS):
        radius = rng.uniform(*_SPOT_PX) ** 2 / _SPOT_PX[1] * h + 1  # small ones are the most frequent
        centre = (int(rng.uniform(0, w)), int(rng.uniform(0, h)))
        stretched = (int(radius * rng.uniform(0.7, 1.4)) + 1, int(radius) + 1)
        spot = cv2.ellipse(np.zeros_like(mask), centre, stretched, rng.uniform(0, 180), 0, 360, 1.0, -1)
        np.maximum(mask, np.asarray(spot) * np.float32(rng.uniform(*_SPOT_OPACITY)), out=mask)
        covered += np.pi * stretched[0] * stretched[1] / (h * w)
        if covered >= cover:
            break
    soft = cv2.GaussianBlur(mask, (0, 0), 0.02 * h)[..., None]  # the lens focuses far beyond its glass
    smeared = cv2.GaussianBlur(rgb, (0, 0), _SMEAR * h).astype(np.float32) * (1 - _VEIL) + _DIRT * _VEIL
    return np.clip(rgb * (1 - soft) + smeared * soft, 0, 255).astype(np.uint8)


def expose(rgb: UInt8Array, stops: float, white_balance: tuple[float, float, float]) -> UInt8Array:
    """Returns an image (H, W, 3) under another exposure and white balance; highlights clip softly.

    Args:
        rgb: as it was.
        stops: factors of two in light.
        white_balance: gains of red, green and blue.
    """
    levels = np.arange(256)[:, None] / 255.0
    light = levels**2.2 * 2.0**stops * np.array(white_balance)  # grey levels are about the 2.2th root of light
    shoulder = np.where(light > 0.7, 0.7 + 0.3 * (1 - np.exp(-(light - 0.7) / 0.3)), light)
    table = np.clip(255 * shoulder ** (1 / 2.2), 0, 255).astype(np.uint8)
    # at no change of exposure the shoulder alone is left out, so that 0 stops mean the same image
    if stops == 0 and all(gain == 1 for gain in white_balance):
        return rgb
    return np.asarray(cv2.LUT(rgb, table.reshape(1, 256, 3)), np.uint8)


def noise(rgb: UInt8Array, sigma: float, rng: np.random.Generator) -> UInt8Array:
    """Returns an image (H, W, 3) with the noise of photons and amplifier, `sigma` grey levels on mid-grey."""
    grain = part_of_tile(_grain(), rgb.shape[0], rgb.shape[1], rng)
    levels = np.sqrt(1 - _SHOT_SHARE + _SHOT_SHARE * np.arange(256) / _MID_GREY).astype(np.float32) * np.float32(sigma)
    noisy = np.asarray(cv2.LUT(rgb, levels), np.float32)
    noisy *= grain
    noisy += rgb
    return np.asarray(cv2.convertScaleAbs(np.maximum(noisy, 0, out=noisy)), np.uint8)


def part_of_tile(tile: Float32Array, h: int, w: int, rng: np.random.Generator) -> Float32Array:
    """Returns (h, w) of a square tile (n, n) or (n, n, channels), from anywhere; beyond its edges it begins anew."""
    side = len(tile)
    top, left = (int(rng.integers(0, side)) for _ in range(2))
    rows = tile[top : top + h] if top + h <= side else np.take(tile, np.arange(top, top + h) % side, axis=0)
    if left + w <= side:
        return rows[:, left : left + w]
    return np.take(rows, np.arange(left, left + w) % side, axis=1)


@cache
def _grain() -> Float32Array:
    """Returns a tile (_TILE, _TILE, 3) of a sensor's noise: mean 0, standard deviation 1, colours smoother than grey.

    Every image takes its own part of it; across the tile's edge, the pattern begins anew.
    """
    rng = np.random.default_rng(44)
    grey = rng.standard_normal((_TILE, _TILE, 1), np.float32)
    colour = rng.standard_normal((_TILE // 2, _TILE // 2, 3), np.float32)  # interpolated, as a sensor's colours are
    colour = np.asarray(cv2.resize(colour, (_TILE, _TILE), interpolation=cv2.INTER_LINEAR), np.float32)
    tile = _GREY_SHARE * grey + np.sqrt(1 - _GREY_SHARE**2) * colour / colour.std()
    return np.asarray(tile, np.float32)
