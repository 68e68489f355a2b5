"""Encoded tiles: a missing or corrupt one is an error, never black pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
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
    "another size": encode_tile(np.zeros((512, 512, 3), np.uint8), TileFormat.PNG),
    "16 bits": cv2.imencode(".png", np.zeros((256, 256, 3), np.uint16))[1].tobytes(),
}


@pytest.mark.parametrize("kind", BAD_TILES)
def test_a_corrupt_tile_raises(kind: str) -> None:
    with (
        SatelliteMap(MemorySource(BAD_TILES[kind]), Datum(49.0, 8.4), 19) as satellite_map,
        pytest.raises(TileCorruptError, match=r"tile 19/\d+/\d+ of 'memory'"),
    ):
        satellite_map.patch(PatchFrame(0.0, 0.0, 0.0, 512, 0.2))


def test_a_transparent_tile_is_ground_without_imagery() -> None:
    image = np.full((256, 256, 4), 255, np.uint8)
    assert decode_tile(cv2.imencode(".png", image)[1].tobytes(), 256, "tile").shape == (256, 256, 3)
    image[:, :9, 3] = 0
    with pytest.raises(TileMissingError, match="transparent"):
        decode_tile(cv2.imencode(".png", image)[1].tobytes(), 256, "tile")


def test_tiles_are_decoded_as_rgb_whatever_their_encoding() -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 250
    for fmt in TileFormat:
        pixels = decode_tile(encode_tile(red, fmt, quality=95), 64, "tile").astype(int)
        assert np.abs(pixels - red).max() < 8
    grey = cv2.imencode(".png", np.full((64, 64), 77, np.uint8))[1].tobytes()
    assert (decode_tile(grey, 64, "tile") == 77).all()
    assert decode_tile(grey, 64, "tile").shape == (64, 64, 3)
    with pytest.raises(InputError, match="square uint8 RGB"):
        encode_tile(np.zeros((4, 5, 3), np.uint8), TileFormat.PNG)
