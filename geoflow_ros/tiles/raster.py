"""Tile bytes and tile pixels: the one place that knows how a tile is encoded.

OpenCV's decoders return a partly grey picture for a truncated JPEG instead of refusing it, so completeness is checked
here, on the container formats themselves (PNG: ISO/IEC 15948, JPEG: ITU-T T.81, WebP: RFC 9649, AVIF: ISO/IEC
14496-12). Bits that flip inside the compressed data are found in PNG (checksums); the others carry no checksum, and
show them only where decoding fails.
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
_AVIF_QUALITY = 512  # cv2.IMWRITE_AVIF_QUALITY, which OpenCV has from 4.8 on, where it was built with AVIF
_PNG_COMPRESSION = 4  # of 0 to 9: beyond it, files hardly get smaller and writing takes twice as long
_LARGEST_SIDE = 4096
_OPAQUE_ALPHA = 128  # a pixel with less alpha than this (of 255) shows no ground
_LEVEL_16 = 257  # 65535 / 255: of 16-bit pixels, one level of 8 bits


class TileFormat(Enum):
    """Image formats of raster tiles; the value is the name in MBTiles metadata and the file extension."""

    PNG = "png"
    JPEG = "jpg"
    WEBP = "webp"
    AVIF = "avif"

    @property
    def content_type(self) -> str:
        """MIME type of the format."""
        return "image/jpeg" if self is TileFormat.JPEG else f"image/{self.value}"


def tile_format(data: bytes, label: str) -> TileFormat:
    """Returns the image format of a tile's bytes, which are whole as far as the format tells.

    Args:
        data: encoded tile.
        label: what to call the tile in an error.

    Raises:
        TileCorruptError: empty, cut short, damaged, or no PNG, JPEG, WebP or AVIF.
    """
    if not data:
        raise TileCorruptError(f"{label} is empty")
    if data.startswith(_PNG_SIGNATURE):
        whole, found = _png_is_whole(data), TileFormat.PNG
    elif data.startswith(b"\xff\xd8\xff"):
        whole, found = _jpeg_is_whole(data), TileFormat.JPEG
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        whole, found = len(data) >= int.from_bytes(data[4:8], "little") + 8, TileFormat.WEBP
    elif data[4:12] in (b"ftypavif", b"ftypavis"):
        whole, found = _boxes_are_whole(data), TileFormat.AVIF
    else:
        raise TileCorruptError(f"{label} is not a PNG, JPEG, WebP or AVIF image (it starts with {data[:12]!r})")
    if not whole:
        raise TileCorruptError(f"{label} is a {found.value} image that is cut short or damaged ({len(data)} bytes)")
    return found


def decode_tile(data: bytes, label: str) -> tuple[UInt8Array, BoolArray | None]:
    """Returns the pixels of an encoded tile, and which of them are opaque.

    Of 16-bit pixels the full range counts, 0 to 65535, whatever the tile holds: all tiles of a map are scaled alike.

    Args:
        data: encoded tile.
        label: what to call the tile in an error.

    Returns:
        (N, N, 3) uint8 RGB, and (N, N) of the pixels that show something, by the alpha channel or the transparent
        colour of a PNG; None where all of them do.

    Raises:
        TileCorruptError: not a whole square image of 8-bit or 16-bit pixels.
    """
    image = _decode_as_stored(data, label)
    if image.dtype not in (np.uint8, np.uint16):
        raise TileCorruptError(f"{label} has {image.dtype} pixels; 8-bit or 16-bit imagery is needed")
    if image.shape[0] != image.shape[1] or image.shape[0] > _LARGEST_SIDE:
        raise TileCorruptError(
            f"{label} is {image.shape[1]}x{image.shape[0]} px; tiles are squares of {_LARGEST_SIDE} px or less"
        )
    if image.ndim == 3 and image.shape[2] == 4:
        opaque: BoolArray | None = _in_8_bits(image[..., 3]) >= _OPAQUE_ALPHA
        rgb = cv2.cvtColor(image, cv2.COLOR_BGRA2RGB)
    else:
        is_grey = image.ndim == 2 or image.shape[2] == 1
        rgb = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if is_grey else cv2.COLOR_BGR2RGB)
        key = _png_transparent_colour(data)
        opaque = None if key is None else (rgb != key).any(axis=-1)
    return _in_8_bits(rgb), None if opaque is None or opaque.all() else opaque


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
        quality: 1 to 100 for JPEG, WebP and AVIF; PNG is lossless.

    Raises:
        InputError: not square, not RGB, not uint8; or an OpenCV that cannot write the format.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.shape[0] != pixels.shape[1]:
        raise InputError(f"a tile is a square uint8 RGB image, not {pixels.dtype} of shape {pixels.shape}")
    settings = {
        TileFormat.PNG: [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION],
        TileFormat.JPEG: [cv2.IMWRITE_JPEG_QUALITY, quality],
        TileFormat.WEBP: [cv2.IMWRITE_WEBP_QUALITY, quality],
        TileFormat.AVIF: [_AVIF_QUALITY, quality],
    }[fmt]
    try:
        _, data = cv2.imencode(f".{fmt.value}", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), settings)
    except cv2.error as error:
        raise InputError(f"this OpenCV ({cv2.__version__}) cannot write {fmt.value}") from error
    return data.tobytes()


def encode_tile_with_alpha(pixels: UInt8Array, alpha: UInt8Array) -> bytes:
    """Encodes (N, N, 3) uint8 RGB pixels with their (N, N) uint8 opacity as a PNG, as fast as that goes."""
    bgra = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGRA)
    bgra[..., 3] = alpha
    fast = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    _, data = cv2.imencode(".png", bgra, fast)
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


def _in_8_bits(pixels: NDArray[Any]) -> UInt8Array:
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + _LEVEL_16 // 2) // _LEVEL_16).astype(np.uint8)


def _jpeg_is_whole(data: bytes) -> bool:
    """Tells whether the end of the image is there; what follows it is harmless (padding, notes of a camera).

    Segments are skipped by their length: a thumbnail in one of them has an end of its own.
    """
    at = 2
    while at + 2 <= len(data):
        if data[at] != 0xFF:  # compressed data, in which 0xFF stands before 0x00 and restart markers only
            at = data.find(b"\xff", at)
            if at < 0:
                return False
        marker = data[at + 1] if at + 1 < len(data) else 0
        if marker == 0xD9:
            return True
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _boxes_are_whole(data: bytes) -> bool:
    """Tells whether the boxes of an ISO base media file, all with their length first, end where the data do."""
    at = 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16], "big")
        if length == 0:  # up to the end, wherever that is
            return True
        if length < 8:
            return False
        at += length
    return at <= len(data)


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


def _png_transparent_colour(data: bytes) -> NDArray[Any] | None:
    """(3,) RGB that a grey or RGB PNG declares transparent (chunk tRNS), as decoded; None where it declares none.

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
            if depth > 8:
                return np.broadcast_to(levels, 3).astype(np.uint16)
            full = levels.astype(np.int64) * 255 // (2**depth - 1)  # as pixels of fewer bits are decoded
            return np.broadcast_to(full, 3).astype(np.uint8)
        elif kind == b"IDAT":  # after it, there is none
            return None
    return None
