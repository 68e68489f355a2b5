"""Picture files and bytes to RGB arrays and back: besides tiles, the only place that knows OpenCV's channel order."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.errors import ImageError, InputError


def decode_image(data: bytes | UInt8Array) -> UInt8Array | None:
    """RGB uint8 (H, W, 3) of an encoded picture (JPEG, PNG and what else OpenCV reads).

    Args:
        data: the encoded bytes.

    Returns:
        The pixels, or None where the bytes are empty, damaged or no picture: the caller knows what to call it.
    """
    encoded = np.frombuffer(data, np.uint8)
    if encoded.size == 0:
        return None
    try:
        bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    except cv2.error:  # a header that promises more pixels than OpenCV takes
        return None
    return None if bgr is None else np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def encode_jpeg(rgb: UInt8Array, quality: int) -> bytes:
    """JPEG bytes of RGB uint8 (H, W, 3).

    Args:
        rgb: the pixels.
        quality: 1 to 100.

    Raises:
        ImageError: an array that is no such picture.
    """
    try:
        written, encoded = cv2.imencode(
            ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
        )
    except cv2.error:
        written = False
    if not written:
        raise ImageError(f"OpenCV cannot write an array of shape {rgb.shape} as JPEG")
    return bytes(encoded.tobytes())


def read_image(path: str | Path) -> UInt8Array:
    """A picture file as RGB uint8 (H, W, 3).

    Raises:
        ImageError: it cannot be read or is not a picture.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror}): give a picture file") from error
    rgb = decode_image(data)
    if rgb is None:
        raise ImageError(f"{path} is not a picture, or is damaged: give a JPEG or PNG file")
    return rgb


def write_image(path: str | Path, rgb: UInt8Array) -> None:
    """Saves RGB uint8 (H, W, 3) in the format that the path's ending names.

    Raises:
        InputError: the ending is not a picture's, or the place cannot be written.
    """
    path = Path(path)
    try:
        written, data = cv2.imencode(path.suffix or ".", rgb[..., ::-1])
    except cv2.error:
        written = False
    if not written:
        raise InputError(f"{path}: pictures are written as .png or .jpg; choose one of these endings")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): choose another place") from error
