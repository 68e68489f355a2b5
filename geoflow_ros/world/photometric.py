"""Pictures as other cameras, other photo services and other light would have taken them: colour, tone, sharpness.

Geometry stays: no pixel moves. Camera images and patches are changed apart, since nothing ties the colours of the one
to those of the other: what matches both must not rely on them. `draw_change` draws plain values and `apply_change` is a
function of picture and values alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from geoflow_ros.arrays import Float32Array, Float64Array, UInt8Array
from geoflow_ros.images import decode_image, encode_jpeg
from geoflow_ros.world.conditions import Range
from geoflow_ros.world.lens import noise, part_of_tile

RGBGain = tuple[float, float, float]

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_HARD_SHADE, _HARD_EDGE = 1.3, 4.0  # depth of a shade with an edge, in its amplitudes; steepness of the edge
_TEXTURE_SCALES_PX = (1, 2, 4)
_TILE = 1024  # pixels
_SHARPENING_RADIUS_PX = 1.2
_VEIL_REACH = 0.5  # of the image's height, from its top
_MAX_SATURATION = 2.2
_STRAY = np.array([215.0, 222.0, 232.0], np.float32)  # light of a hazy sky


@dataclass(frozen=True)
class PhotometricRanges:
    """How far pictures of one side differ. Shares are of the pictures; a sigma is of a log unless it says otherwise.

    The numbers are estimates: what separates cameras, seasons and photo services by eye, and somewhat more.

    Attributes:
        gain_sigma: of the brightness.
        cast_sigma: of each colour's own gain.
        gamma_sigma: of the tone curve's exponent.
        contrast: slope that the tone curve gains in its middle.
        offset_sigma: of a shift, as a part of white.
        saturation_sigma: of the saturation.
        grey_share: part without any colour.
        hue_sigma_deg: of a turn of all hues, degrees.
        crosstalk_sigma: of what a colour channel takes from another.
        shade_share: part under uneven light: clouds, shadows of what stands outside the picture.
        shade: amplitude of its log.
        texture_share: part with a fine texture on everything, which the renderer's surfaces lack.
        texture: amplitude of its log.
        vignette_share: part with a fall of brightness from somewhere in the middle to the edges.
        vignette: what is lost at the far edge; negative where the middle is the darker.
        veil_share: part with stray light from above.
        veil: opacity of it at the top.
        blur_share: part that is blurred.
        blur_px: radius (sigma).
        sharpening_share: part that is sharpened.
        sharpening: weight of the unsharp mask.
        noise_share: part with noise.
        noise: largest standard deviation, grey levels; small ones are the most frequent.
        jpeg_share: part that was compressed.
        jpeg_quality: of libjpeg.
    """

    gain_sigma: float
    cast_sigma: float
    gamma_sigma: float
    contrast: Range
    offset_sigma: float
    saturation_sigma: float
    grey_share: float
    hue_sigma_deg: float
    crosstalk_sigma: float
    shade_share: float
    shade: Range
    texture_share: float
    texture: Range
    vignette_share: float
    vignette: Range
    veil_share: float
    veil: Range
    blur_share: float
    blur_px: Range
    sharpening_share: float
    sharpening: Range
    noise_share: float
    noise: float
    jpeg_share: float
    jpeg_quality: tuple[int, int]


CAMERA = PhotometricRanges(
    gain_sigma=0.18,
    cast_sigma=0.06,
    gamma_sigma=0.25,
    contrast=(-0.5, 0.7),
    offset_sigma=0.04,
    saturation_sigma=0.45,
    grey_share=0.06,
    hue_sigma_deg=6.0,
    crosstalk_sigma=0.05,
    shade_share=0.6,
    shade=(0.0, 0.4),
    texture_share=0.4,
    texture=(0.02, 0.14),
    vignette_share=0.4,
    vignette=(-0.2, 0.6),
    veil_share=0.3,
    veil=(0.0, 0.45),
    blur_share=0.5,
    blur_px=(0.3, 1.6),
    sharpening_share=0.35,
    sharpening=(0.3, 1.5),
    noise_share=0.6,
    noise=10.0,
    jpeg_share=0.6,
    jpeg_quality=(35, 95),
)

MAP = PhotometricRanges(
    gain_sigma=0.16,
    cast_sigma=0.06,
    gamma_sigma=0.22,
    contrast=(-0.45, 0.65),
    offset_sigma=0.04,
    saturation_sigma=0.45,
    grey_share=0.06,
    hue_sigma_deg=8.0,  # seasons turn green into yellow and brown
    crosstalk_sigma=0.07,
    shade_share=0.3,
    shade=(0.0, 0.2),
    texture_share=0.2,
    texture=(0.02, 0.08),
    vignette_share=0.0,
    vignette=(0.0, 0.0),
    veil_share=0.0,
    veil=(0.0, 0.0),
    blur_share=0.4,
    blur_px=(0.3, 1.2),
    sharpening_share=0.35,
    sharpening=(0.3, 1.5),
    noise_share=0.6,
    noise=7.0,
    jpeg_share=0.6,
    jpeg_quality=(35, 95),
)


@dataclass(frozen=True)
class PhotometricChange:
    """All that is drawn for one picture; the defaults change nothing.

    Attributes:
        gains: of red, green and blue.
        gamma: exponent of the tone curve.
        contrast: slope that the tone curve gains in its middle.
        offset: shift of the tone curve, as a part of white.
        saturation: 0 is grey, 1 as it was.
        hue_rad: turn of all hues about grey.
        crosstalk: (6,) what each colour takes from the two others: red of green, of blue, green of red and so on.
        shade: amplitude of the log of uneven light; negative: with hard edges.
        texture: amplitude of the log of a fine texture.
        vignette: what is lost at the far edge.
        middle: (column, row) of the vignette, as shares of the picture.
        veil: opacity of stray light at the top.
        blur_px: radius (sigma).
        sharpening: weight of the unsharp mask.
        noise: standard deviation of a mid-grey pixel, grey levels.
        jpeg_quality: of libjpeg, 0 for no compression.
        pattern: seed of what is random in the picture.
    """

    gains: RGBGain = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    contrast: float = 0.0
    offset: float = 0.0
    saturation: float = 1.0
    hue_rad: float = 0.0
    crosstalk: tuple[float, ...] = (0.0,) * 6
    shade: float = 0.0
    texture: float = 0.0
    vignette: float = 0.0
    middle: tuple[float, float] = (0.5, 0.5)
    veil: float = 0.0
    blur_px: float = 0.0
    sharpening: float = 0.0
    noise: float = 0.0
    jpeg_quality: int = 0
    pattern: int = 0


def draw_change(ranges: PhotometricRanges, rng: np.random.Generator) -> PhotometricChange:
    """Draws how one picture is changed; a picture is blurred or sharpened, not both."""
    r = ranges
    gains = np.exp(r.gain_sigma * rng.normal() + r.cast_sigma * rng.normal(size=3))
    red, green, blue = (float(gain) for gain in gains)

    def sometimes(share: float, low: float, high: float) -> float:
        value = float(rng.uniform(low, high))
        return value if rng.random() < share else 0.0

    saturation = min(float(np.exp(r.saturation_sigma * rng.normal())), _MAX_SATURATION)
    sharpness = rng.random()
    blur_px, sharpening = float(rng.uniform(*r.blur_px)), float(rng.uniform(*r.sharpening))
    return PhotometricChange(
        gains=(red, green, blue),
        gamma=float(np.exp(r.gamma_sigma * rng.normal())),
        contrast=float(rng.uniform(*r.contrast)),
        offset=float(r.offset_sigma * rng.normal()),
        saturation=0.0 if rng.random() < r.grey_share else saturation,
        hue_rad=float(np.radians(r.hue_sigma_deg * rng.normal())),
        crosstalk=tuple(float(v) for v in r.crosstalk_sigma * rng.normal(size=6)),
        shade=sometimes(r.shade_share, *r.shade) * (-1.0 if rng.random() < 0.35 else 1.0),
        texture=sometimes(r.texture_share, *r.texture),
        vignette=sometimes(r.vignette_share, *r.vignette),
        middle=(float(rng.uniform(0.3, 0.7)), float(rng.uniform(0.2, 0.8))),
        veil=sometimes(r.veil_share, *r.veil),
        blur_px=blur_px if sharpness < r.blur_share else 0.0,
        sharpening=sharpening if r.blur_share <= sharpness < r.blur_share + r.sharpening_share else 0.0,
        noise=sometimes(r.noise_share, 0.0, 1.0) ** 2 * r.noise,
        jpeg_quality=round(sometimes(r.jpeg_share, *r.jpeg_quality)),
        pattern=int(rng.integers(2**62)),
    )


def apply_change(image: UInt8Array, change: PhotometricChange) -> UInt8Array:
    """Returns a picture (H, W, 3) uint8 RGB as it is changed, in the order of light: scene, lens, sensor, file."""
    rng = np.random.default_rng(change.pattern)
    picture = _lit(image, change, rng)
    if change.blur_px > 0:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), change.blur_px), np.uint8)
    if change.noise > 0:
        picture = noise(picture, change.noise, rng)
    picture = np.asarray(cv2.transform(picture, colour_matrix(change)), np.uint8)
    picture = np.asarray(cv2.LUT(picture, _tone_curve(change)), np.uint8)
    if change.sharpening > 0:
        soft = cv2.GaussianBlur(picture, (0, 0), _SHARPENING_RADIUS_PX)
        picture = np.asarray(cv2.addWeighted(picture, 1 + change.sharpening, soft, -change.sharpening, 0), np.uint8)
    if change.jpeg_quality > 0:
        decoded = decode_image(encode_jpeg(picture, change.jpeg_quality))
        picture = picture if decoded is None else decoded
    return picture


def changed(image: UInt8Array, ranges: PhotometricRanges, rng: np.random.Generator, share: float = 1.0) -> UInt8Array:
    """Returns a picture (H, W, 3) changed as `rng` draws it; as it was, but for a `share` of the draws."""
    change = draw_change(ranges, rng)
    return apply_change(image, change) if rng.random() < share else image


def colour_matrix(change: PhotometricChange) -> Float64Array:
    """Returns the (3, 3) matrix on RGB columns of saturation, hue and crosstalk; what is grey stays grey."""
    mix = np.eye(3)
    mix[~np.eye(3, dtype=bool)] = change.crosstalk
    mix[np.diag_indices(3)] -= mix.sum(axis=1) - 1
    # Rodrigues' rotation about the axis of greys
    cross = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / np.sqrt(3)
    turn = np.eye(3) + np.sin(change.hue_rad) * cross + (1 - np.cos(change.hue_rad)) * cross @ cross
    grey = np.tile(_LUMA, (3, 1))
    return np.asarray((grey + change.saturation * (np.eye(3) - grey)) @ turn @ mix, np.float64)


def _tone_curve(change: PhotometricChange) -> UInt8Array:
    """Returns the (1, 256, 3) table of gains, exponent, contrast and shift."""
    level = np.arange(256)[:, None] / 255.0
    light = np.clip(level * np.array(change.gains), 0, 1) ** change.gamma
    middle = light - 0.5
    curve = light + change.contrast * middle * (1 - np.abs(2 * middle)) + change.offset
    return np.asarray(np.clip(np.round(255 * curve), 0, 255), np.uint8).reshape(1, 256, 3)


def _lit(image: UInt8Array, change: PhotometricChange, rng: np.random.Generator) -> UInt8Array:
    """Returns the picture under uneven light, with texture, vignette and stray light."""
    h, w = image.shape[:2]
    if change.shade != 0 or change.texture > 0:
        gain = np.exp(_uneven_light(change, h, w, rng))
        image = _times(image, gain)
    if change.vignette != 0:
        column, row = (np.arange(n, dtype=np.float32) / n - m for n, m in zip((w, h), change.middle, strict=True))
        far = sum(max(m, 1 - m) ** 2 for m in change.middle)
        image = _times(image, 1 - np.float32(change.vignette / far) * (column[None] ** 2 + row[:, None] ** 2))
    if change.veil > 0:
        image = image.copy()
        rows = int(np.ceil(_VEIL_REACH * h))
        opacity = np.float32(change.veil) * (1 - np.arange(rows, dtype=np.float32) / rows)[:, None, None]
        image[:rows] = image[:rows] * (1 - opacity) + _STRAY * opacity
    return image


def _uneven_light(change: PhotometricChange, h: int, w: int, rng: np.random.Generator) -> Float32Array:
    """Returns the (h, w) log of shade and texture."""
    coarse = rng.standard_normal((int(rng.integers(2, 7)), int(rng.integers(3, 14))), np.float32)
    light = np.asarray(cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC), np.float32)
    if change.shade < 0:
        light = np.float32(_HARD_SHADE) * np.tanh(np.float32(_HARD_EDGE) * light)
    light *= np.float32(abs(change.shade))
    if change.texture > 0:
        light += np.float32(change.texture) * part_of_tile(_texture(), h, w, rng)
    return light


def _times(image: UInt8Array, factor: Float32Array) -> UInt8Array:
    """Returns a picture (H, W, 3) times (H, W) factors."""
    return np.asarray(cv2.multiply(image, cv2.merge([factor] * 3), dtype=cv2.CV_8U), np.uint8)


@cache
def _texture() -> Float32Array:
    """Returns a tile (_TILE, _TILE) of noise of several scales, deviation about 1; every picture takes its own part."""
    rng = np.random.default_rng(45)
    total = np.zeros((_TILE, _TILE), np.float32)
    for scale in _TEXTURE_SCALES_PX:
        grain = rng.standard_normal((_TILE // scale, _TILE // scale), np.float32)
        total += np.asarray(cv2.resize(grain, (_TILE, _TILE), interpolation=cv2.INTER_LINEAR), np.float32)
    return np.asarray(total / total.std(), np.float32)
