"""Image messages to RGB arrays and back: the only place in the package that knows other channel orders.

The usual encodings are decoded here with numpy and OpenCV. Where cv_bridge is installed (a ROS distribution), it
decodes the rest.
"""

from __future__ import annotations

import importlib
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.errors import ImageError
from geoflow_ros.images import decode_image, encode_jpeg

# encoding -> (channels, OpenCV conversion to RGB or None)
_EIGHT_BIT: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    # OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first row's first two.
    "bayer_rggb8": (1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": (1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": (1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": (1, cv2.COLOR_BayerGB2RGB),
    "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (2, cv2.COLOR_YUV2RGB_YUY2),
}
# Sixteen bits a channel: the upper eight are kept.
_SIXTEEN_BIT: dict[str, tuple[int, int | None]] = {
    "rgb16": (3, None),
    "bgr16": (3, cv2.COLOR_BGR2RGB),
    "mono16": (1, cv2.COLOR_GRAY2RGB),
}

DECODED_ENCODINGS = (*_EIGHT_BIT, *_SIXTEEN_BIT)
"""Encodings of sensor_msgs/Image that need no cv_bridge."""


def rgb_from_message(message: Image | CompressedImage) -> UInt8Array:
    """RGB uint8 (height, width, 3) of a camera message, raw or compressed.

    Raises:
        ImageError: see `rgb_from_image` and `rgb_from_compressed`.
    """
    return rgb_from_compressed(message) if isinstance(message, CompressedImage) else rgb_from_image(message)


def rgb_from_image(message: Image) -> UInt8Array:
    """Returns an Image message as RGB uint8 (height, width, 3).

    Raises:
        ImageError: empty, of an encoding that nothing here decodes, or with fewer bytes than its size says.
    """
    if message.height == 0 or message.width == 0:
        raise ImageError(f"the image is empty ({message.width} x {message.height}): check the camera driver")
    if message.encoding in _EIGHT_BIT:
        channels, conversion = _EIGHT_BIT[message.encoding]
        pixels = _pixels(message, channels, 1)
    elif message.encoding in _SIXTEEN_BIT:
        channels, conversion = _SIXTEEN_BIT[message.encoding]
        most_significant = 0 if message.is_bigendian else 1
        pixels = _pixels(message, 2 * channels, 2)[:, :, most_significant::2]
    else:
        return _rgb_by_cv_bridge(message)
    pixels = np.ascontiguousarray(pixels)
    if conversion is None:
        return pixels
    try:
        return np.asarray(cv2.cvtColor(pixels, conversion), np.uint8)
    except cv2.error as error:
        raise ImageError(
            f"a {message.width} x {message.height} image cannot be '{message.encoding}': check the camera driver"
        ) from error


def _pixels(message: Image, bytes_per_pixel: int, word: int) -> UInt8Array:
    """A (height, width, bytes_per_pixel) view of the message's bytes; rows may be padded."""
    row = message.width * bytes_per_pixel
    step = message.step or row
    if step < row:
        raise ImageError(
            f"the image's step {step} is less than its row of {row} bytes ('{message.encoding}', width {message.width})"
        )
    data = np.frombuffer(message.data, np.uint8)
    # The last row need not be padded.
    needed = step * (message.height - 1) + row
    if data.size < needed:
        raise ImageError(
            f"the image has {data.size} bytes, but {message.width} x {message.height} '{message.encoding}' "
            f"needs {needed}: it was cut short"
        )
    if step % word:
        raise ImageError(f"the image's step {step} is odd, but '{message.encoding}' has two bytes a channel")
    rows = np.lib.stride_tricks.as_strided(data, (message.height, row), (step, 1))
    return rows.reshape(message.height, message.width, bytes_per_pixel)


def _rgb_by_cv_bridge(message: Image) -> UInt8Array:
    try:
        bridge: Any = importlib.import_module("cv_bridge").CvBridge()
    except ImportError:
        raise ImageError(
            f"the image's encoding '{message.encoding}' is not one of {', '.join(DECODED_ENCODINGS)}: "
            "convert it, or install cv_bridge"
        ) from None
    try:
        return np.asarray(bridge.imgmsg_to_cv2(message, "rgb8"), np.uint8)
    except Exception as error:  # cv_bridge raises its own and OpenCV's errors
        raise ImageError(f"cv_bridge cannot convert '{message.encoding}' to RGB: {error}") from error


def rgb_from_compressed(message: CompressedImage) -> UInt8Array:
    """Returns a CompressedImage message (JPEG, PNG and what else OpenCV reads) as RGB uint8 (height, width, 3).

    Raises:
        ImageError: empty, or not such an image.
    """
    data = np.frombuffer(message.data, np.uint8)
    if data.size == 0:
        raise ImageError("the compressed image is empty: check the camera driver")
    rgb = decode_image(data)
    if rgb is None:
        raise ImageError(
            f"the compressed image ('{message.format}', {data.size} bytes) cannot be decoded: it is damaged or no image"
        )
    return rgb


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
