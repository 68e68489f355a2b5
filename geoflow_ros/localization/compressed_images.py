"""Compressed camera images (sensor_msgs/CompressedImage) as RGB, whoever deserialized them: rclpy or rosbags."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.errors import ImageError
from geoflow_ros.images import decode_image
from geoflow_ros.localization.encodings import BAYER

_VIDEO = ("h264", "h265", "hevc", "x264", "x265", "avc", "vp8", "vp9", "av1", "ffmpeg", "mpeg4")
_START_CODES = (b"\x00\x00\x00\x01", b"\x00\x00\x01")  # of H.264 and H.265


def rgb_from_compressed(message: Any) -> UInt8Array:
    """Returns a CompressedImage message (JPEG, PNG and what else OpenCV reads) as RGB uint8 (height, width, 3).

    `format` is image_transport's, such as `bayer_rggb8; jpeg compressed`: a Bayer pattern that was compressed as it is
    becomes colours here. Drivers that send cameras' own JPEGs say `jpeg`.

    Raises:
        ImageError: empty, a video stream, a depth image, or no image at all.
    """
    data = np.frombuffer(message.data, np.uint8)
    if data.size == 0:
        raise ImageError("the compressed image is empty: check the camera driver")
    encoding, _, compression = (part.strip() for part in message.format.lower().partition(";"))
    words = (compression or encoding).split()
    _refuse_what_is_no_picture(message.format, words, data)
    rgb = decode_image(data)
    if rgb is None:
        raise ImageError(
            f"the compressed image ('{message.format}', {data.size} bytes) cannot be decoded: it is damaged or no image"
        )
    pattern = next((conversion for name, conversion in BAYER.items() if encoding.startswith(name)), None)
    if pattern is None or _has_colours(rgb):
        return rgb
    try:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(rgb[..., 0]), pattern), np.uint8)
    except cv2.error as error:
        raise ImageError(f"a {rgb.shape[1]} x {rgb.shape[0]} image cannot be '{message.format}'") from error


def _refuse_what_is_no_picture(name: str, words: list[str], data: UInt8Array) -> None:
    is_video = any(codec in word for codec in _VIDEO for word in words)
    if is_video or bytes(data[:4]).startswith(_START_CODES):
        raise ImageError(
            f"the compressed image ('{name}') is a part of a video stream, which cannot be decoded message by message: "
            "republish it as raw images (package ffmpeg_image_transport), or have the camera send JPEG"
        )
    if "compresseddepth" in words:
        raise ImageError(f"the compressed image ('{name}') holds depths: give the topic of the camera's pictures")


def _has_colours(rgb: UInt8Array) -> bool:
    return bool((rgb[..., 0] != rgb[..., 1]).any() or (rgb[..., 0] != rgb[..., 2]).any())
