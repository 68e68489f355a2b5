"""Image messages to RGB arrays and back; the usual encodings are decoded without ROS, in `localization`.

Where cv_bridge is installed (a ROS distribution), it decodes the rest.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.errors import ImageError
from geoflow_ros.images import encode_jpeg
from geoflow_ros.localization.compressed_images import rgb_from_compressed
from geoflow_ros.localization.encodings import DECODED_ENCODINGS, rgb_of_encoding, used_bits, why_not

_log = logging.getLogger("geoflow_ros")

_WATCHED_IMAGES = 10  # bits that so many do not use are not used at all


class ImageDecoder:
    """Decodes one camera's messages, and says once where its sixteen bits are not scaled. Not thread-safe."""

    def __init__(self) -> None:
        self._used_bits, self._images = 0, 0

    def rgb(self, message: Image | CompressedImage) -> UInt8Array:
        """RGB uint8 (height, width, 3) of a camera message, raw or compressed.

        Raises:
            ImageError: see `rgb_from_image` and `rgb_from_compressed`.
        """
        if isinstance(message, CompressedImage):
            return rgb_from_compressed(message)
        rgb = rgb_from_image(message)
        if self._images < _WATCHED_IMAGES:
            self._watch(message)
        return rgb

    def _watch(self, message: Image) -> None:
        used = used_bits(message)
        if used is None:
            return
        self._used_bits, self._images = self._used_bits | used, self._images + 1
        bits = self._used_bits.bit_length() + self._used_bits.bit_length() % 2  # sensors have 8, 10, 12 or 14
        if self._images == _WATCHED_IMAGES and 0 < bits < 16:
            _log.warning(
                "the camera's '%s' images use %d of their 16 bits, so they are nearly black: have the driver shift "
                "them left by %d",
                message.encoding,
                bits,
                16 - bits,
            )


def rgb_from_image(message: Image) -> UInt8Array:
    """Returns an Image message as RGB uint8 (height, width, 3).

    Raises:
        ImageError: empty, of an encoding that nothing here decodes, or with fewer bytes than its size says.
    """
    if message.height == 0 or message.width == 0:
        raise ImageError(f"the image is empty ({message.width} x {message.height}): check the camera driver")
    return rgb_of_encoding(message) if message.encoding in DECODED_ENCODINGS else _rgb_by_cv_bridge(message)


def _rgb_by_cv_bridge(message: Image) -> UInt8Array:
    try:
        bridge: Any = importlib.import_module("cv_bridge").CvBridge()
    except ImportError:
        raise ImageError(why_not(message.encoding)) from None
    try:
        return np.asarray(bridge.imgmsg_to_cv2(message, "rgb8"), np.uint8)
    except Exception as error:  # cv_bridge raises its own and OpenCV's errors
        raise ImageError(f"{why_not(message.encoding)} (which says: {error})") from error


def compressed_from_rgb(rgb: UInt8Array, stamp: Time, frame_id: str, jpeg_quality: int) -> CompressedImage:
    """Returns an RGB uint8 (height, width, 3) array as a JPEG CompressedImage."""
    message = CompressedImage()
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    message.format = "rgb8; jpeg compressed bgr8"
    message.data = encode_jpeg(rgb, jpeg_quality)
    return message


def image_from_rgb(rgb: UInt8Array, stamp: Time, frame_id: str) -> Image:
    """Returns an RGB uint8 (height, width, 3) array as an `rgb8` Image."""
    message = Image()
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    message.height, message.width = rgb.shape[:2]
    message.encoding = "rgb8"
    message.step = 3 * message.width
    message.data = rgb.tobytes()
    return message
