"""PNG files of the kinds that OpenCV does not write: palettes, transparent colours, pixels of few bits."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from geoflow_ros.arrays import UInt8Array

GREY, RGB, PALETTE = 0, 2, 3
"""Colour types."""


def png(pixels: UInt8Array, colour_type: int, transparent: bytes, palette: bytes = b"", depth: int = 8) -> bytes:
    """A PNG of (H, W) or (H, W, 3) values, with the content of its chunk tRNS."""
    height, width = pixels.shape[:2]
    if depth < 8:
        bits = np.unpackbits(pixels[..., None], axis=-1)[..., -depth:]
        pixels = np.packbits(bits.reshape(height, -1), axis=1)
    if depth > 8:
        pixels = np.ascontiguousarray(pixels.astype(">u2")).view(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels))
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        (b"PLTE", palette),
        (b"tRNS", transparent),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks if chunk[1] or chunk[0] == b"IEND")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
