"""Tile bytes and tile pixels: the one place that knows how a tile is encoded.

OpenCV's decoders return a partly grey picture for a truncated JPEG instead of refusing it, so completeness is checked
here, on the container formats themselves (PNG: ISO/IEC 15948, JPEG: ITU-T T.81, WebP: RFC 9649). Bits that flip inside
the compressed data are found in PNG (checksums); JPEG and WebP carry no checksum, and show them only where decoding
fails.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from enum import Enum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from geoflow_ros.arrays import BoolArray, UInt8Array
from geoflow_ros.errors import InputError, TileCorruptError

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNK_OVERHEAD = 12  # bytes of a chunk besides its data: length, type and checksum
_PNG_KEYED = {0: 1, 2: 3}  # channels of the colour types, grey and RGB, that have a transparent colour
_PNG_COMPRESSION = 4  # of 0 to 9: beyond it, files hardly get smaller and writing takes twice as long
_OPAQUE_ALPHA = 128  # a pixel with less alpha than this (of 255) shows no ground


class TileFormat(Enum):
    """Image formats of raster tiles; the value is the name in MBTiles metadata and the file extension."""

    PNG = "png"
    JPEG = "jpg"
    WEBP = "webp"

    @property
    def content_type(self) -> str:
        """MIME type of the format."""
        return {TileFormat.PNG: "image/png", TileFormat.JPEG: "image/jpeg", TileFormat.WEBP: "image/webp"}[self]


def tile_format(data: bytes, label: str) -> TileFormat:
    """Returns the image format of a tile's bytes, which are whole as far as the format tells.

    Args:
        data: encoded tile.
        label: what to call the tile in an error.

    Raises:
        TileCorruptError: empty, cut short, damaged, or no PNG, JPEG or WebP.
    """
    if not data:
        raise TileCorruptError(f"{label} is empty")
    if data.startswith(_PNG_SIGNATURE):
        whole, found = _png_is_whole(data), TileFormat.PNG
    elif data.startswith(b"\xff\xd8\xff"):
        # Some servers pad the end-of-image marker.
        whole, found = data.rstrip(b"\0\r\n ").endswith(b"\xff\xd9"), TileFormat.JPEG
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        whole, found = len(data) >= int.from_bytes(data[4:8], "little") + 8, TileFormat.WEBP
    else:
        raise TileCorruptError(f"{label} is not a PNG, JPEG or WebP image (it starts with {data[:12]!r})")
    if not whole:
        raise TileCorruptError(f"{label} is a {found.value} image that is cut short or damaged ({len(data)} bytes)")
    return found


def decode_tile(data: bytes, tile_size: int, label: str) -> tuple[UInt8Array, BoolArray | None]:
    """Returns the pixels of an encoded tile, and which of them are opaque.

    Args:
        data: encoded tile.
        tile_size: pixels along one side that the tile must have.
        label: what to call the tile in an error.

    Returns:
        (tile_size, tile_size, 3) uint8 RGB, and (tile_size, tile_size) of the pixels that show something, by the alpha
        channel or the transparent colour of a PNG; None where all of them do.

    Raises:
        TileCorruptError: not a whole image of 8-bit pixels and of that size.
    """
    image = _decode_as_stored(data, label)
    if image.dtype != np.uint8:
        raise TileCorruptError(f"{label} has {image.dtype} pixels; 8-bit imagery is needed")
    if image.shape[:2] != (tile_size, tile_size):
        raise TileCorruptError(
            f"{label} is {image.shape[1]}x{image.shape[0]} px where {tile_size}x{tile_size} is expected; "
            "open the source with its true tile size"
        )
    if image.ndim == 3 and image.shape[2] == 4:
        opaque: BoolArray | None = image[..., 3] >= _OPAQUE_ALPHA
        rgb = cv2.cvtColor(image, cv2.COLOR_BGRA2RGB)
    else:
        is_grey = image.ndim == 2 or image.shape[2] == 1
        rgb = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if is_grey else cv2.COLOR_BGR2RGB)
        key = _png_transparent_colour(data)
        opaque = None if key is None else (rgb != key).any(axis=-1)
    return np.asarray(rgb, np.uint8), None if opaque is None or opaque.all() else opaque


def tile_side(data: bytes, label: str) -> int:
    """Returns the number of rows of an encoded tile, in pixels.

    Args:
        data: encoded tile.
        label: what to call the tile in an error.

    Raises:
        TileCorruptError: not a whole image.
    """
    return int(_decode_as_stored(data, label).shape[0])


def encode_tile(pixels: UInt8Array, fmt: TileFormat, quality: int = 90) -> bytes:
    """Encodes (N, N, 3) uint8 RGB pixels as a tile.

    Args:
        pixels: the tile.
        fmt: image format.
        quality: 1 to 100 for JPEG and WebP; PNG is lossless.

    Raises:
        InputError: not square, not RGB, not uint8.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.shape[0] != pixels.shape[1]:
        raise InputError(f"a tile is a square uint8 RGB image, not {pixels.dtype} of shape {pixels.shape}")
    settings = {
        TileFormat.PNG: [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION],
        TileFormat.JPEG: [cv2.IMWRITE_JPEG_QUALITY, quality],
        TileFormat.WEBP: [cv2.IMWRITE_WEBP_QUALITY, quality],
    }[fmt]
    _, data = cv2.imencode(f".{fmt.value}", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), settings)
    return data.tobytes()


def _decode_as_stored(data: bytes, label: str) -> NDArray[Any]:
    """Decodes a tile with the channels (grey, BGR or BGRA) and the depth that it is stored with."""
    tile_format(data, label)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # a header that promises more pixels than OpenCV takes
        image = None
    if image is None:
        raise TileCorruptError(f"{label} cannot be decoded ({len(data)} bytes)")
    return image


def _png_is_whole(data: bytes) -> bool:
    """Tells whether every chunk up to the end marker is there and matches its checksum."""
    return any(kind == b"IEND" for kind, _ in _png_chunks(data))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Gives type and data of the chunks up to the end marker, or to the first that is cut short or damaged."""
    at = len(_PNG_SIGNATURE)
    while at + _PNG_CHUNK_OVERHEAD <= len(data):
        end = at + _PNG_CHUNK_OVERHEAD + int.from_bytes(data[at : at + 4], "big")
        if end > len(data) or zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return
        kind = data[at + 4 : at + 8]
        yield kind, data[at + 8 : end - 4]
        if kind == b"IEND":
            return
        at = end


def _png_transparent_colour(data: bytes) -> UInt8Array | None:
    """(3,) RGB that a grey or RGB PNG of up to 8 bits declares transparent (chunk tRNS); None where it declares none.

    OpenCV gives palettes an alpha channel, RGB as well (not in every version), and forgets the key of grey pictures.
    """
    if not data.startswith(_PNG_SIGNATURE):
        return None
    depth = colour_type = 0
    for kind, content in _png_chunks(data):
        if kind == b"IHDR":
            depth, colour_type = content[8], content[9]
        elif kind == b"tRNS":
            if colour_type not in _PNG_KEYED or len(content) != 2 * _PNG_KEYED[colour_type]:
                return None
            levels = np.frombuffer(content, ">u2") & (2**depth - 1)
            full = levels.astype(np.int64) * 255 // (2**depth - 1)  # as pixels of fewer bits are decoded
            return np.broadcast_to(full, 3).astype(np.uint8)
        elif kind == b"IDAT":  # after it, there is none
            return None
    return None
