"""Encoded tiles: a missing or corrupt one is an error, never black pixels; transparent ones are told apart."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from fakes import png
from fakes.tiles import GREY, MemorySource

from geoflow_ros.errors import InputError, TileCorruptError, TileMissingError
from geoflow_ros.geo import Datum, PatchFrame
from geoflow_ros.tiles import SatelliteMap, TileFormat, decode_tile, encode_tile


def test_a_missing_tile_raises_and_says_how_many() -> None:
    source = MemorySource(GREY, failing={(19, 274377, 180052): TileMissingError("gone")})
    with SatelliteMap(source, Datum(49.0, 8.4), 19) as satellite_map, pytest.raises(TileMissingError, match="gone"):
        satellite_map.patch(PatchFrame(0.0, 0.0, 0.0, 512, 0.2))


BAD_TILES = {
    "empty": b"",
    "a web page": b"<html>no</html>",
    "a cut PNG": encode_tile(np.zeros((256, 256, 3), np.uint8), TileFormat.PNG)[:-20],
    "a cut JPEG": encode_tile(np.zeros((256, 256, 3), np.uint8), TileFormat.JPEG)[:-200],
    "a cut WebP": encode_tile(np.full((256, 256, 3), 9, np.uint8), TileFormat.WEBP)[:-8],
    "a damaged PNG": GREY[:100] + bytes([GREY[100] ^ 8]) + GREY[101:],
    "a JPEG of noise": b"\xff\xd8\xff" + bytes(range(200)) + b"\xff\xd9",
    "no square": cv2.imencode(".png", np.zeros((256, 128, 3), np.uint8))[1].tobytes(),
    "a cut AVIF": encode_tile(np.full((256, 256, 3), 9, np.uint8), TileFormat.AVIF)[:-8],
}


@pytest.mark.parametrize("kind", BAD_TILES)
def test_a_corrupt_tile_raises(kind: str) -> None:
    with (
        SatelliteMap(MemorySource(BAD_TILES[kind]), Datum(49.0, 8.4), 19) as satellite_map,
        pytest.raises(TileCorruptError, match=r"tile 19/\d+/\d+ of 'memory'"),
    ):
        satellite_map.patch(PatchFrame(0.0, 0.0, 0.0, 512, 0.2))


def test_transparent_pixels_show_nothing_and_opaque_ones_do() -> None:
    image = np.full((256, 256, 4), 255, np.uint8)
    for fmt in (".png", ".webp"):
        assert decode_tile(cv2.imencode(fmt, image)[1].tobytes(), "tile")[1] is None
    image[:, :9, 3], image[:, 9:20, 3] = 127, 128
    for fmt in (".png", ".webp"):
        pixels, opaque = decode_tile(cv2.imencode(fmt, image)[1].tobytes(), "tile")
        assert pixels.shape == (256, 256, 3)
        assert opaque is not None
        assert not opaque[:, :9].any()
        assert opaque[:, 9:].all()


LEVELS = np.tile(np.arange(16, dtype=np.uint8), (16, 1))
PALETTE = bytes(range(48))
KEYED_TILES = {
    "palette": png.png(LEVELS, png.PALETTE, b"\xff\xff\xff\0", PALETTE),
    "palette of 4 bits": png.png(LEVELS, png.PALETTE, b"\xff\xff\xff\0", PALETTE, depth=4),
    "grey": png.png(LEVELS, png.GREY, b"\0\x03"),
    "grey of 4 bits": png.png(LEVELS, png.GREY, b"\0\x03", depth=4),
    "RGB": png.png(np.repeat(LEVELS[..., None], 3, axis=-1), png.RGB, b"\0\x03\0\x03\0\x03"),
    "grey of 16 bits": png.png(LEVELS, png.GREY, b"\0\x03", depth=16),
    "RGB of 16 bits": png.png(np.repeat(LEVELS[..., None], 3, axis=-1), png.RGB, b"\0\x03\0\x03\0\x03", depth=16),
}


@pytest.mark.parametrize("kind", KEYED_TILES)
def test_the_transparent_colour_of_a_png_shows_nothing(kind: str) -> None:
    _, opaque = decode_tile(KEYED_TILES[kind], "tile")
    assert opaque is not None
    np.testing.assert_array_equal(opaque, LEVELS != 3)


def test_a_transparent_colour_that_no_pixel_has_costs_nothing() -> None:
    pixels, opaque = decode_tile(png.png(LEVELS, png.GREY, b"\0\x77"), "tile")
    assert opaque is None
    assert (pixels == LEVELS[..., None]).all()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_are_scaled_by_their_full_range_whatever_a_tile_holds(channels: int) -> None:
    deep = np.zeros((256, 256, channels), np.uint16)
    deep[..., :3] = (np.arange(256 * 256).reshape(256, 256)[..., None] // 2).astype(np.uint16)  # the darker half alone
    if channels == 4:
        deep[..., 3] = 65535
        deep[:, :5, 3] = 32000
    data = cv2.imencode(".png", deep if channels > 1 else deep[..., 0])[1].tobytes()
    pixels, opaque = decode_tile(data, "tile")
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels[..., 0], deep[..., 0] * (255 / 65535), atol=0.51)
    assert pixels.max() == 127
    if channels == 4:
        assert opaque is not None
        assert not opaque[:, :5].any()
        assert opaque[:, 5:].all()
    else:
        assert opaque is None


def test_tiles_are_decoded_as_rgb_whatever_their_encoding() -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 250
    for fmt in TileFormat:
        pixels = decode_tile(encode_tile(red, fmt, quality=95), "tile")[0].astype(int)
        assert np.abs(pixels - red).max() < 8
    grey = cv2.imencode(".png", np.full((64, 64), 77, np.uint8))[1].tobytes()
    assert (decode_tile(grey, "tile")[0] == np.full((64, 64, 3), 77)).all()
    with pytest.raises(InputError, match="square uint8 RGB"):
        encode_tile(np.zeros((4, 5, 3), np.uint8), TileFormat.PNG)
