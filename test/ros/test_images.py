"""Image messages of every usual encoding become RGB; what is no image is refused with a reason."""

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image

from geoflow_ros.errors import ImageError
from geoflow_ros.ros.images import compressed_from_rgb, image_from_rgb, rgb_from_compressed, rgb_from_image

HEIGHT, WIDTH = 6, 8


def colours() -> np.ndarray:
    """(6, 8, 3) RGB of large blocks, red, green, blue and grey, that survive chroma subsampling and Bayer patterns."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, :4] = (200, 30, 60)
    picture[:, 4:] = (20, 90, 220)
    return picture


def message_of(data: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False) -> Image:
    rows = data.reshape(data.shape[0], -1)
    if data.dtype == np.uint16:
        rows = rows.astype(">u2" if big_endian else "<u2")
    raw = rows.view(np.uint8).reshape(data.shape[0], -1)
    raw = np.pad(raw, ((0, 0), (0, padding)), constant_values=255)
    message = Image(height=data.shape[0], width=data.shape[1], encoding=encoding, step=raw.shape[1])
    message.is_bigendian = int(big_endian)
    message.data = raw.tobytes()
    return message


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize(
    ("encoding", "order"),
    [("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0]), ("rgba8", [0, 1, 2, 0]), ("bgra8", [2, 1, 0, 0])],
)
def test_colour_images_become_rgb_with_or_without_padded_rows(encoding: str, order: list[int], padding: int) -> None:
    rgb = rgb_from_image(message_of(np.ascontiguousarray(colours()[:, :, order]), encoding, padding))
    np.testing.assert_array_equal(rgb, colours())


def test_grey_images_become_rgb_with_equal_channels() -> None:
    grey = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    np.testing.assert_array_equal(
        rgb_from_image(message_of(grey, "mono8", padding=3)), np.repeat(grey[..., None], 3, 2)
    )


@pytest.mark.parametrize("big_endian", [False, True])
def test_the_upper_byte_of_sixteen_bits_counts_in_either_byte_order(big_endian: bool) -> None:
    grey = (np.arange(HEIGHT * WIDTH, dtype=np.uint16) * 256 + 7).reshape(HEIGHT, WIDTH)
    rgb = rgb_from_image(message_of(grey, "mono16", big_endian=big_endian))
    np.testing.assert_array_equal(rgb[..., 0], grey >> 8)
    colour = colours().astype(np.uint16) * 256 + 3
    np.testing.assert_array_equal(rgb_from_image(message_of(colour, "rgb16", 2, big_endian)), colours())


@pytest.mark.parametrize(
    ("encoding", "pattern"),
    [
        ("bayer_rggb8", [[0, 1], [1, 2]]),
        ("bayer_bggr8", [[2, 1], [1, 0]]),
        ("bayer_gbrg8", [[1, 2], [0, 1]]),
        ("bayer_grbg8", [[1, 0], [2, 1]]),
    ],
)
def test_bayer_patterns_are_read_in_the_order_of_their_name(encoding: str, pattern: list[list[int]]) -> None:
    channel = np.tile(np.array(pattern), (HEIGHT // 2, WIDTH // 2))
    raw = np.take_along_axis(colours(), channel[..., None], axis=2)[..., 0]
    rgb = rgb_from_image(message_of(np.ascontiguousarray(raw), encoding)).astype(int)
    np.testing.assert_allclose(rgb[2:4, 1:3], colours()[2:4, 1:3], atol=2)
    np.testing.assert_allclose(rgb[2:4, 5:7], colours()[2:4, 5:7], atol=2)


@pytest.mark.parametrize(("encoding", "luma_first"), [("yuv422", False), ("yuv422_yuy2", True)])
def test_yuv422_becomes_rgb(encoding: str, luma_first: bool) -> None:
    yuv = cv2.cvtColor(colours(), cv2.COLOR_RGB2YUV)
    chroma = np.where(np.arange(WIDTH) % 2 == 0, yuv[..., 1], yuv[..., 2])
    pair = [yuv[..., 0], chroma] if luma_first else [chroma, yuv[..., 0]]
    rgb = rgb_from_image(message_of(np.ascontiguousarray(np.stack(pair, -1)), encoding)).astype(int)
    # The range of luma differs between OpenCV's two conversions: the hue decides.
    assert (rgb[:, :4, 0] > rgb[:, :4, 2] + 90).all()
    assert (rgb[:, 4:, 2] > rgb[:, 4:, 0] + 90).all()


def test_a_jpeg_comes_back_as_the_picture_that_it_was_made_of() -> None:
    picture = np.full((32, 64, 3), (200, 30, 60), np.uint8)
    message = compressed_from_rgb(picture, Time(sec=3), "camera", 95)
    assert message.header.stamp.sec == 3
    assert "jpeg" in message.format
    np.testing.assert_allclose(rgb_from_compressed(message).astype(int), picture, atol=4)


def test_a_raw_image_comes_back_as_the_picture_that_it_was_made_of() -> None:
    np.testing.assert_array_equal(rgb_from_image(image_from_rgb(colours(), Time(), "camera")), colours())


def broken(**changes: object) -> Image:
    message = image_from_rgb(colours(), Time(), "camera")
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (broken(height=0), "empty"),
        (broken(width=0), "empty"),
        (broken(data=b""), "cut short"),
        (broken(data=bytes(100)), "cut short"),
        (broken(step=7), "step 7"),
        (broken(encoding="32FC1"), "32FC1"),
        (broken(encoding=""), "encoding ''"),
        (broken(encoding="rgb16"), "rgb16"),
    ],
)
def test_what_is_no_image_is_refused_with_a_reason(message: Image, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        rgb_from_image(message)


@pytest.mark.parametrize("data", [b"", b"not a picture at all", bytes(1000)])
def test_bytes_that_are_no_picture_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        rgb_from_compressed(CompressedImage(format="jpeg", data=data))


def test_a_jpeg_cut_to_its_header_is_refused() -> None:
    whole = compressed_from_rgb(np.zeros((64, 64, 3), np.uint8), Time(), "camera", 90)
    with pytest.raises(ImageError):
        rgb_from_compressed(CompressedImage(format="jpeg", data=bytes(whole.data)[:40]))
