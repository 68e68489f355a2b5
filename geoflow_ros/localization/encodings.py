"""The encodings of sensor_msgs/Image as RGB: packed and planar pixels, Bayer patterns, eight and sixteen bits.

Messages are of rclpy or of rosbags: only their fields count, and nothing here imports ROS.

Rows may be padded (`step`), sixteen bits may come in either byte order. Planar formats have the rows of their second
plane behind those of the first, with the same padding: V4L2's layout, which camera drivers hand on.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import cv2
import numpy as np

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.errors import ImageError

# OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first row's first two.
BAYER: dict[str, int] = {
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}
"""OpenCV's conversion to RGB of each pattern, by its name without the number of bits."""

# colours -> (channels, OpenCV's conversion to RGB or None); names end in 8 or 16, the bits of a channel
_COLOURS: dict[str, tuple[int, int | None]] = {
    "rgb": (3, None),
    "bgr": (3, cv2.COLOR_BGR2RGB),
    "rgba": (4, cv2.COLOR_RGBA2RGB),
    "bgra": (4, cv2.COLOR_BGRA2RGB),
    "mono": (1, cv2.COLOR_GRAY2RGB),
    **{pattern: (1, conversion) for pattern, conversion in BAYER.items()},
}
_EIGHT_BIT: dict[str, tuple[int, int | None]] = {
    **{f"{name}8": packing for name, packing in _COLOURS.items()},
    "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (2, cv2.COLOR_YUV2RGB_YUY2),
}
_SIXTEEN_BIT = {f"{name}16": packing for name, packing in _COLOURS.items()}
_PLANAR = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21, "nv24": cv2.COLOR_YUV2RGB_NV12}

_WITHOUT_COLOURS = ("8UC1", "8UC2", "8UC3", "8UC4", "16UC1", "16UC2", "16UC3", "16UC4")
"""OpenCV's types, which say how many channels there are and not which."""

DECODED_ENCODINGS = (*_EIGHT_BIT, *_SIXTEEN_BIT, *_PLANAR)
"""Encodings of sensor_msgs/Image that need no cv_bridge."""


def rgb_of_encoding(message: Any) -> UInt8Array:
    """Returns a message of one of `DECODED_ENCODINGS` as RGB uint8 (height, width, 3); of 16 bits the upper 8 count.

    Raises:
        ImageError: fewer bytes than its size says, or a size that its encoding cannot have.
    """
    if message.encoding in _PLANAR:
        return _rgb_of_planes(message)
    if message.encoding in _EIGHT_BIT:
        channels, conversion = _EIGHT_BIT[message.encoding]
        pixels = _rows(message, message.height, message.width * channels)
    else:
        channels, conversion = _SIXTEEN_BIT[message.encoding]
        pixels = _words(message)[:, 0 if message.is_bigendian else 1 :: 2]
    pixels = np.ascontiguousarray(pixels).reshape(message.height, message.width, channels)
    return pixels if conversion is None else _converted(message, pixels, conversion)


def used_bits(message: Any) -> int | None:
    """Returns which of the 16 bits of a message's channels are used, as their union; None where it has not 16."""
    if message.encoding not in _SIXTEEN_BIT:
        return None
    words = np.ascontiguousarray(_words(message)).view(">u2" if message.is_bigendian else "<u2")
    return int(np.bitwise_or.reduce(words, axis=None))


def why_not(encoding: str) -> str:
    """Returns why an encoding cannot be decoded, and what to do, in one line."""
    if encoding in _WITHOUT_COLOURS:
        return (
            f"the image's encoding '{encoding}' does not say what its channels are: set the driver to a name that "
            "does, such as bgr8, mono8 or bayer_rggb8"
        )
    if encoding in ("jpeg", "jpg", "png", "mjpeg"):
        return f"the image's encoding '{encoding}' is a compressed one: publish it as sensor_msgs/CompressedImage"
    near = get_close_matches(encoding.lower(), DECODED_ENCODINGS, 1)
    meant = f" (is '{near[0]}' meant?)" if near else ""
    return (
        f"the image's encoding '{encoding}'{meant} is not one of {', '.join(DECODED_ENCODINGS)}: "
        "convert it, or install cv_bridge"
    )


def _words(message: Any) -> UInt8Array:
    """The bytes (height, 2 * width * channels) of an image with two bytes a channel."""
    channels = _SIXTEEN_BIT[message.encoding][0]
    if message.step % 2:
        raise ImageError(f"the image's step {message.step} is odd, but '{message.encoding}' has two bytes a channel")
    return _rows(message, message.height, 2 * message.width * channels)


def _rgb_of_planes(message: Any) -> UInt8Array:
    """Luma, then pairs of chroma: one for two by two pixels, with nv24 one for each."""
    height, width = message.height, message.width
    if height % 2 or width % 2:
        raise ImageError(f"a {width} x {height} image cannot be '{message.encoding}': its sides must be even")
    if message.encoding == "nv24":
        # Chroma is halved: to the model it is the same, and OpenCV knows no such format.
        step = message.step or width
        data = _rows(message, 3 * height, width)
        chroma = np.lib.stride_tricks.as_strided(data[height:], (height, width, 2), (2 * step, 2, 1))
        halved = cv2.resize(np.ascontiguousarray(chroma), (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        planes = np.concatenate([data[:height], np.asarray(halved, np.uint8).reshape(height // 2, width)])
    else:
        planes = np.ascontiguousarray(_rows(message, height * 3 // 2, width))
    return _converted(message, planes, _PLANAR[message.encoding])


def _rows(message: Any, rows: int, row_bytes: int) -> UInt8Array:
    """A (rows, row_bytes) view of the message's bytes; rows may be padded."""
    step = message.step or row_bytes
    if step < row_bytes:
        raise ImageError(
            f"the image's step {step} is less than its row of {row_bytes} bytes ('{message.encoding}', width "
            f"{message.width})"
        )
    data = np.frombuffer(message.data, np.uint8)
    # The last row need not be padded.
    needed = step * (rows - 1) + row_bytes
    if data.size < needed:
        raise ImageError(
            f"the image has {data.size} bytes, but {message.width} x {message.height} '{message.encoding}' "
            f"needs {needed}: it was cut short"
        )
    return np.lib.stride_tricks.as_strided(data, (rows, row_bytes), (step, 1), writeable=False)


def _converted(message: Any, pixels: UInt8Array, conversion: int) -> UInt8Array:
    try:
        return np.asarray(cv2.cvtColor(pixels, conversion), np.uint8)
    except cv2.error as error:
        raise ImageError(
            f"a {message.width} x {message.height} image cannot be '{message.encoding}': check the camera driver"
        ) from error
