"""Image messages of every usual encoding become RGB; what is no image is refused with a reason."""

import logging

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image

from geoflow_ros.errors import ImageError
from geoflow_ros.images import encode_jpeg
from geoflow_ros.localization.compressed_images import rgb_from_compressed
from geoflow_ros.localization.encodings import DECODED_ENCODINGS
from geoflow_ros.ros.images import (
    ImageDecoder,
    compressed_from_rgb,
    image_from_rgb,
    rgb_from_image,
)

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


@pytest.mark.parametrize(("encoding", "order"), [("rgba16", [0, 1, 2, 0]), ("bgra16", [2, 1, 0, 1])])
@pytest.mark.parametrize("big_endian", [False, True])
def test_sixteen_bits_with_an_alpha_channel_become_rgb(encoding: str, order: list[int], big_endian: bool) -> None:
    colour = np.ascontiguousarray(colours()[:, :, order]).astype(np.uint16) * 256 + 77
    np.testing.assert_array_equal(rgb_from_image(message_of(colour, encoding, 6, big_endian)), colours())


PATTERNS = {
    "bayer_rggb": [[0, 1], [1, 2]],
    "bayer_bggr": [[2, 1], [1, 0]],
    "bayer_gbrg": [[1, 2], [0, 1]],
    "bayer_grbg": [[1, 0], [2, 1]],
}


def mosaic(pattern: str, picture: np.ndarray) -> np.ndarray:
    channel = np.tile(np.array(PATTERNS[pattern]), (picture.shape[0] // 2, picture.shape[1] // 2))
    return np.ascontiguousarray(np.take_along_axis(picture, channel[..., None], axis=2)[..., 0])


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("big_endian", [False, True])
def test_bayer_patterns_are_read_in_the_order_of_their_name(pattern: str, bits: int, big_endian: bool) -> None:
    raw = mosaic(pattern, colours())
    raw = raw if bits == 8 else raw.astype(np.uint16) * 256 + 5
    rgb = rgb_from_image(message_of(raw, f"{pattern}{bits}", 2, big_endian)).astype(int)
    np.testing.assert_allclose(rgb[2:4, 1:3], colours()[2:4, 1:3], atol=2)
    np.testing.assert_allclose(rgb[2:4, 5:7], colours()[2:4, 5:7], atol=2)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("form", ["{}; jpeg compressed", "{}; jpeg compressed {}"])
def test_a_pattern_that_was_compressed_as_it_is_becomes_colours(pattern: str, form: str) -> None:
    picture = np.repeat(np.repeat(colours(), 8, 0), 8, 1)
    raw = mosaic(pattern, picture)
    message = CompressedImage(format=form.format(f"{pattern}8", f"{pattern}8"), data=encode_jpeg(grey(raw), 100))
    rgb = rgb_from_compressed(message).astype(int)
    np.testing.assert_allclose(rgb[8:40, 4:28], picture[8:40, 4:28], atol=25)
    np.testing.assert_allclose(rgb[8:40, 36:60], picture[8:40, 36:60], atol=25)


def grey(mono: np.ndarray) -> np.ndarray:
    return np.repeat(mono[..., None], 3, 2)


def test_a_pattern_that_was_compressed_as_colours_is_not_read_as_a_pattern_again() -> None:
    picture = np.repeat(np.repeat(colours(), 8, 0), 8, 1)
    message = CompressedImage(format="bayer_rggb8; jpeg compressed bgr8", data=encode_jpeg(picture, 100))
    np.testing.assert_allclose(rgb_from_compressed(message)[:, :24].astype(int), picture[:, :24], atol=6)


def limited_range(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Luma and chroma (H, W) each by ITU-R BT.601, 16 to 235 and 240."""
    r, g, b = np.moveaxis(rgb.astype(float) / 255, -1, 0)
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    planes = 16 + 219 * luma, 128 + 224 * (b - luma) / 1.772, 128 + 224 * (r - luma) / 1.402
    return tuple(np.round(plane).astype(np.uint8) for plane in planes)


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("encoding", ["nv12", "nv21", "nv24"])
def test_planes_of_luma_and_chroma_become_rgb(encoding: str, padding: int) -> None:
    y, u, v = limited_range(colours())
    every = 1 if encoding == "nv24" else 2
    pair = [v, u] if encoding == "nv21" else [u, v]
    chroma = np.stack([plane[::every, ::every] for plane in pair], -1)
    luma = np.pad(y, ((0, 0), (0, padding)))
    chroma = chroma.reshape(len(chroma), -1)
    chroma = np.pad(chroma, ((0, 0), (0, padding * (2 // every))))
    message = Image(height=HEIGHT, width=WIDTH, encoding=encoding, step=WIDTH + padding)
    message.data = luma.tobytes() + chroma.tobytes()
    np.testing.assert_allclose(rgb_from_image(message).astype(int), colours(), atol=4)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("big_endian", [False, True])
def test_sixteen_bits_that_are_not_scaled_are_said_once_with_the_shift(
    bits: int, big_endian: bool, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(bits)
    decoder = ImageDecoder()
    with caplog.at_level(logging.WARNING, "geoflow_ros"):
        for _ in range(25):
            grey = rng.integers(0, 2**bits, (HEIGHT, WIDTH)).astype(np.uint16)
            decoder.rgb(message_of(grey, "mono16", big_endian=big_endian))
    assert [record.getMessage() for record in caplog.records] == [
        f"the camera's 'mono16' images use {bits} of their 16 bits, so they are nearly black: have the driver shift "
        f"them left by {16 - bits}"
    ]


def test_one_bright_picture_is_enough_to_know_that_sixteen_bits_are_scaled(caplog: pytest.LogCaptureFixture) -> None:
    decoder = ImageDecoder()
    with caplog.at_level(logging.WARNING, "geoflow_ros"):
        for k in range(25):
            level = 0xF000 if k == 7 else 0x0800
            decoder.rgb(message_of(np.full((HEIGHT, WIDTH), level, np.uint16), "bayer_rggb16"))
    assert not caplog.records


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
        (broken(encoding="RGB8"), "is 'rgb8' meant"),
        (broken(encoding="bayerrg8"), "is 'bayer_rggb8' meant"),
        (broken(encoding="8UC3"), "does not say what its channels are.*bgr8"),
        (broken(encoding="16UC1"), "does not say what its channels are"),
        (broken(encoding="jpeg"), "CompressedImage"),
        (broken(encoding="nv12", step=WIDTH, data=bytes(HEIGHT * WIDTH)), "cut short"),
        (broken(encoding="nv12", width=7, step=7), "even"),
    ],
)
def test_what_is_no_image_is_refused_with_a_reason(message: Image, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        rgb_from_image(message)


def test_every_encoding_decodes_a_picture_of_its_size() -> None:
    for encoding in DECODED_ENCODINGS:
        message = Image(height=HEIGHT, width=WIDTH, encoding=encoding, data=bytes(HEIGHT * WIDTH * 8))
        assert rgb_from_image(message).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("name", ["h264", "H265", "hevc", "libx264", "bgr8; ffmpeg compressed hevc", "vp9", "av1"])
def test_a_video_stream_is_said_to_be_one(name: str) -> None:
    with pytest.raises(ImageError, match="video stream.*ffmpeg_image_transport"):
        rgb_from_compressed(CompressedImage(format=name, data=bytes(range(100))))


def test_a_video_stream_that_calls_itself_jpeg_is_found_out() -> None:
    with pytest.raises(ImageError, match="video stream"):
        rgb_from_compressed(CompressedImage(format="jpeg", data=b"\x00\x00\x00\x01\x67" + bytes(50)))


def test_depths_are_no_picture() -> None:
    with pytest.raises(ImageError, match="depths"):
        rgb_from_compressed(CompressedImage(format="16UC1; compressedDepth png", data=bytes(50)))


@pytest.mark.parametrize("data", [b"", b"not a picture at all", bytes(1000)])
def test_bytes_that_are_no_picture_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        rgb_from_compressed(CompressedImage(format="jpeg", data=data))


def test_a_jpeg_cut_to_its_header_is_refused() -> None:
    whole = compressed_from_rgb(np.zeros((64, 64, 3), np.uint8), Time(), "camera", 90)
    with pytest.raises(ImageError):
        rgb_from_compressed(CompressedImage(format="jpeg", data=bytes(whole.data)[:40]))
