"""From hypotheses to a fix: refinement, trust, determinism, frames, images, pictures, one image on a map."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import TAUGHT_OFFSET_M

from geoflow_ros.backends import HeadOutput, OnnxRuntimeBackend
from geoflow_ros.backends.host_frames import HostFrames, refine
from geoflow_ros.bundle import Bundle, Calibration, IrsSettings
from geoflow_ros.errors import BundleError, GeoFlowError, ImageError, InputError
from geoflow_ros.geo import Datum, PatchFrame, confidence_ellipse, latlon_to_pixel, tile_bounds
from geoflow_ros.inference import GeoFlowLocalizer, QualityLimits, assess
from geoflow_ros.inference.irs import INITIAL_SPREAD, mean_estimate, sample_hypotheses, spread
from geoflow_ros.inference.posterior import probe_grid
from geoflow_ros.localization.single_image import localize_image, read_image
from geoflow_ros.tiles import SatellitePatch
from geoflow_ros.visualization import draw_fix

RADIUS_M = 20.0


class ExactHead:
    """A head that knows the truth, and says with which spread; f_vis (B, 2) is the true q itself."""

    def __init__(self, sigma_log_r=0.1, kappa=50.0):
        self.sigma_log_r, self.kappa = sigma_log_r, kappa

    def head(self, f_vis, hypotheses, step):
        offset = f_vis[:, None, :] - hypotheses
        r = np.maximum(np.linalg.norm(offset, axis=-1), 1e-9)
        ones = np.ones_like(r)
        return HeadOutput(
            mu_log_r=np.log(r),
            var_log_r=ones * self.sigma_log_r**2,
            direction=offset / r[..., None],
            kappa=ones * self.kappa,
            refined=hypotheses + step * offset,
            orientation=None,
        )


class RecordingBackend(HostFrames):
    """The real back end, and how often the encoders were called."""

    def __init__(self, backend):
        self.backend, self.satellite_calls, self.ground_calls = backend, 0, 0
        self.name, self.precision = backend.name, backend.precision

    def satellite_tokens(self, satellite):
        self.satellite_calls += 1
        return self.backend.satellite_tokens(satellite)

    def f_vis(self, ground, tokens):
        self.ground_calls += 1
        return self.backend.f_vis(ground, tokens)

    def head(self, f_vis, hypotheses, step):
        return self.backend.head(f_vis, hypotheses, step)


@pytest.fixture(scope="module")
def bundle(converging_bundle):
    return Bundle.load(converging_bundle)


@pytest.fixture(scope="module")
def backend(bundle):
    return OnnxRuntimeBackend(bundle, threads=1)


def picture(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def ground_image(seed=0):
    return picture((64, 256, 3), seed)


def patch_at(bundle, east_m=0.0, north_m=0.0, yaw_rad=0.0, seed=1):
    frame = bundle.manifest.patch_frame(east_m, north_m, yaw_rad)
    return SatellitePatch(picture((frame.size_px, frame.size_px, 3), seed), frame)


# --- refinement -------------------------------------------------------------------------------------------------------


def test_hypotheses_are_uniform_over_the_search_square():
    hypotheses = sample_hypotheses(4, 20_000, seed=1)
    assert hypotheses.shape == (4, 20_000, 2)
    assert hypotheses.dtype == np.float32
    assert np.abs(hypotheses).max() <= 1.0
    np.testing.assert_allclose(hypotheses.mean(axis=1), 0.0, atol=0.02)
    np.testing.assert_allclose(hypotheses.var(axis=1), 1.0 / 3.0, atol=0.01)
    assert spread(hypotheses)[0] == pytest.approx(INITIAL_SPREAD, abs=0.01)


def test_hypotheses_depend_on_seed_and_stamp_alone():
    np.testing.assert_array_equal(sample_hypotheses(1, 10, 3, 77), sample_hypotheses(1, 10, 3, 77))
    assert not np.array_equal(sample_hypotheses(1, 10, 3, 77), sample_hypotheses(1, 10, 4, 77))
    assert not np.array_equal(sample_hypotheses(1, 10, 3, 77), sample_hypotheses(1, 10, 3, 78))


@pytest.mark.parametrize("step", [0.25, 0.5, 1.0])
def test_exact_displacements_leave_the_fraction_that_step_and_iterations_say(step):
    settings = IrsSettings(hypotheses=7, iterations=4, step=step)
    truth = np.array([[0.3, -0.6], [-0.9, 0.1]], dtype=np.float32)
    start = sample_hypotheses(2, settings.hypotheses, seed=2)
    path = refine(ExactHead(), truth, start, settings.step, settings.iterations)
    assert path.shape == (5, 2, 7, 2)
    np.testing.assert_array_equal(path[0], start)
    expected = truth[:, None] + settings.remaining_fraction * (start - truth[:, None])
    np.testing.assert_allclose(path[-1], expected, atol=1e-6)


def test_the_answer_is_the_mean_and_the_spread_its_root_mean_square_distance():
    hypotheses = np.array([[[0.0, 0.0], [0.6, 0.8]]], dtype=np.float32)
    np.testing.assert_allclose(mean_estimate(hypotheses), [[0.3, 0.4]], atol=1e-7)
    np.testing.assert_allclose(spread(hypotheses), [0.5], atol=1e-7)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"hypotheses": 0}, "hypotheses"),
        ({"iterations": 0}, "iterations"),
        ({"step": 0.0}, "step"),
        ({"step": 1.5}, "step"),
        ({"step": float("nan")}, "step"),
    ],
)
def test_refinement_that_could_not_run_is_refused(settings, word):
    with pytest.raises(InputError, match=word):
        IrsSettings(**settings)


# --- assessment --------------------------------------------------------------------------------------------------------


def assessed(truth, hypotheses, head=None, calibration=None, settings=None):
    hypotheses, truth = np.asarray(hypotheses, dtype=np.float32), np.asarray(truth, dtype=np.float32)
    probes = np.repeat(probe_grid()[None], len(truth), axis=0)
    return assess(
        (head or ExactHead()).head(truth, probes, 0.5),
        probe_grid(),
        hypotheses,
        mean_estimate(hypotheses),
        RADIUS_M,
        calibration or Calibration.unfitted(0.2),
        settings or IrsSettings(),
        QualityLimits(),
    )[0]


def test_hypotheses_that_met_inside_the_square_are_trusted():
    estimate = assessed([[0.5, -0.2]], [[[0.5, -0.2], [0.52, -0.2], [0.48, -0.2]]])
    assert estimate.assessment.trustworthy
    assert estimate.assessment.reason == ""
    np.testing.assert_allclose(estimate.position_m, [10.0, -4.0], atol=1e-5)
    np.testing.assert_allclose(estimate.posterior_mean_m, [10.0, -4.0], atol=0.1)
    assert estimate.assessment.inside_fraction == 1.0
    assert estimate.heading_error_rad is None


def test_an_answer_outside_the_search_square_is_not_trusted_and_says_why():
    estimate = assessed([[1.4, 0.0]], [[[1.4, 0.0], [1.4, 0.0]]])
    assert "outside the search square" in estimate.assessment.reason
    assert estimate.assessment.inside_fraction == 0.0


def test_hypotheses_in_two_clusters_are_not_trusted_and_the_reason_names_the_spread():
    estimate = assessed([[0.0, 0.0]], [[[-0.6, 0.0], [-0.6, 0.0], [0.6, 0.0], [0.6, 0.0]]])
    assert "did not meet" in estimate.assessment.reason
    assert estimate.assessment.spread_m == pytest.approx(12.0, rel=1e-6)


def test_one_iteration_is_trusted_for_the_spread_that_it_must_leave():
    settings = IrsSettings(hypotheses=200, iterations=1, step=0.5)
    truth = np.zeros((1, 2), dtype=np.float32)
    end = refine(ExactHead(), truth, sample_hypotheses(1, 200, 5), settings.step, settings.iterations)[-1]
    assert assessed(truth, end, settings=settings).assessment.trustworthy


def test_the_covariance_grows_with_both_uncertainties_of_the_head():
    at = [[0.1, 0.1]]
    sure = assessed(at, [at], ExactHead(0.05, 100.0)).covariance
    far_unsure = assessed(at, [at], ExactHead(0.5, 100.0)).covariance
    aside_unsure = assessed(at, [at], ExactHead(0.05, 5.0)).covariance
    both_unsure = assessed(at, [at], ExactHead(0.5, 5.0)).covariance
    # from all around, distance alone or direction alone tells the position too: both must go for it to be lost
    assert np.trace(far_unsure) > 2.0 * np.trace(sure)
    assert np.trace(aside_unsure) > 2.0 * np.trace(sure)
    assert np.trace(both_unsure) > 20.0 * np.trace(sure)


def test_calibration_stretches_each_axis_of_the_patch_by_itself():
    at = [[0.0, 0.0]]
    plain = assessed(at, [at]).raw_covariance
    stretched = assessed(at, [at], calibration=Calibration(3.0, 0.5, 0.4, 0.2, 100, "test")).covariance
    assert stretched[0, 0] == pytest.approx(9.0 * plain[0, 0] + 0.16)
    assert stretched[1, 1] == pytest.approx(0.25 * plain[1, 1] + 0.04)


def test_a_head_that_knows_nothing_is_worth_no_less_and_no_more_than_the_search_square():
    covariance = assessed([[0.0, 0.0]], [[[0.0, 0.0]]], ExactHead(3.0, 1e-3)).covariance
    np.testing.assert_allclose(covariance, np.eye(2) * RADIUS_M**2 / 3.0, rtol=1e-6, atol=1e-9)


def test_an_output_that_is_not_finite_gives_no_fix():
    broken = ExactHead(sigma_log_r=float("nan"))
    with pytest.raises(BundleError, match="not finite"):
        assessed([[0.0, 0.0]], [[[0.0, 0.0]]], broken)
    with pytest.raises(BundleError, match="not finite"):
        assessed([[0.0, 0.0]], [[[np.nan, 0.0]]])


def test_a_patch_can_be_encoded_ahead_of_its_first_frame(bundle, backend):
    recorder = RecordingBackend(backend)
    localizer = GeoFlowLocalizer(bundle, recorder)
    used, following = patch_at(bundle, seed=1), patch_at(bundle, seed=2)
    before = localizer.localize(ground_image(), used)
    localizer.prepare(following)
    assert recorder.satellite_calls == 2
    again = localizer.localize(ground_image(), used)  # the one in use is still there
    ahead = localizer.localize(ground_image(), following)
    assert recorder.satellite_calls == 2
    np.testing.assert_array_equal(again.path, before.path)
    np.testing.assert_array_equal(
        ahead.path, GeoFlowLocalizer(bundle, backend).localize(ground_image(), following).path
    )


def test_a_patch_of_another_size_is_not_encoded(bundle, backend):
    frame = replace(bundle.manifest.patch_frame(0.0, 0.0, 0.0), size_px=96)
    with pytest.raises(InputError, match="96"):
        GeoFlowLocalizer(bundle, backend).prepare(SatellitePatch(picture((96, 96, 3)), frame))


# --- the localizer ----------------------------------------------------------------------------------------------------


def test_a_taught_network_finds_its_place_in_the_map(bundle, backend):
    yaw_rad = 0.7
    fix = GeoFlowLocalizer(bundle, backend).localize(
        ground_image(), patch_at(bundle, 500.0, -300.0, yaw_rad), stamp_ns=42
    )
    forward, right = TAUGHT_OFFSET_M
    expected = [
        500.0 + forward * np.cos(yaw_rad) + right * np.sin(yaw_rad),
        -300.0 + forward * np.sin(yaw_rad) - right * np.cos(yaw_rad),
    ]
    assert fix.assessment.trustworthy, fix.assessment.reason
    np.testing.assert_allclose(fix.position, expected, atol=1.5)
    np.testing.assert_allclose(fix.posterior_position, expected, atol=2.0)
    assert (fix.stamp_ns, fix.yaw_rad, fix.search_radius_m) == (42, yaw_rad, RADIUS_M)
    assert fix.path.shape == (6, 10, 2)
    np.testing.assert_array_equal(fix.path[-1], fix.hypotheses)
    np.testing.assert_allclose(fix.hypotheses.mean(axis=0), fix.position, atol=1e-3)
    assert fix.assessment.spread_m < 3.0
    assert fix.heading_error_rad is not None
    stages = fix.timings
    parts = stages.resize_ms + stages.satellite_ms + stages.ground_ms + stages.refine_ms + stages.covariance_ms
    assert parts == pytest.approx(stages.total_ms, rel=1e-6)


@pytest.mark.parametrize("yaw_rad", [0.4, -2.1, np.pi / 2.0])
def test_turning_and_moving_the_patch_turns_and_moves_the_fix(bundle, backend, yaw_rad):
    localizer = GeoFlowLocalizer(bundle, backend, seed=3)
    still = localizer.localize(ground_image(), patch_at(bundle))
    moved = localizer.localize(ground_image(), patch_at(bundle, 1000.0, 2000.0, yaw_rad))
    turn = np.array([[np.cos(yaw_rad), -np.sin(yaw_rad)], [np.sin(yaw_rad), np.cos(yaw_rad)]])
    np.testing.assert_allclose(moved.position - (1000.0, 2000.0), turn @ still.position, atol=1e-6)
    np.testing.assert_allclose(moved.covariance, turn @ still.covariance @ turn.T, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(moved.path - (1000.0, 2000.0), still.path @ turn.T, atol=1e-6)
    np.testing.assert_array_equal(moved.raw_covariance, still.raw_covariance)


def test_the_published_covariance_is_symmetric_and_positive_definite(bundle, backend):
    localizer = GeoFlowLocalizer(bundle, backend)
    for seed in range(5):
        covariance = localizer.localize(ground_image(seed), patch_at(bundle, yaw_rad=seed, seed=seed)).covariance
        np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
        assert np.linalg.eigvalsh(covariance)[0] > 0.0


def test_satellite_tokens_are_kept_while_the_patch_is_the_same_object(bundle, backend):
    recorder = RecordingBackend(backend)
    localizer = GeoFlowLocalizer(bundle, recorder)
    patch = patch_at(bundle)
    first = localizer.localize(ground_image(0), patch)
    second = localizer.localize(ground_image(1), patch)
    assert (recorder.satellite_calls, recorder.ground_calls) == (1, 2)
    assert first.timings.satellite_ms > second.timings.satellite_ms
    localizer.localize(ground_image(0), patch_at(bundle))  # equal pixels, another object
    assert recorder.satellite_calls == 2


def test_a_fix_does_not_depend_on_the_frames_before_it(bundle, backend):
    patch = patch_at(bundle)
    fresh = GeoFlowLocalizer(bundle, backend, seed=9).localize(ground_image(5), patch, stamp_ns=100)
    used = GeoFlowLocalizer(bundle, backend, seed=9)
    used.localize(ground_image(4), patch_at(bundle, seed=7), stamp_ns=50)
    again = used.localize(ground_image(5), patch, stamp_ns=100)
    np.testing.assert_array_equal(again.path, fresh.path)
    np.testing.assert_array_equal(again.covariance, fresh.covariance)
    other_seed = GeoFlowLocalizer(bundle, backend, seed=10).localize(ground_image(5), patch, stamp_ns=100)
    assert not np.array_equal(other_seed.path, fresh.path)


@pytest.mark.parametrize(("hypotheses", "iterations"), [(1, 1), (1, 5), (10, 3), (1000, 5)])
def test_hypotheses_and_iterations_are_chosen_at_run_time(bundle, backend, hypotheses, iterations):
    localizer = GeoFlowLocalizer(bundle, backend, hypotheses=hypotheses, iterations=iterations)
    fix = localizer.localize(ground_image(), patch_at(bundle))
    assert fix.path.shape == (iterations + 1, hypotheses, 2)


def test_settings_may_be_changed_between_frames(bundle, backend):
    localizer = GeoFlowLocalizer(bundle, backend)
    localizer.settings = replace(localizer.settings, hypotheses=25, iterations=2)
    assert localizer.localize(ground_image(), patch_at(bundle)).path.shape == (3, 25, 2)


def test_images_of_any_size_with_the_models_aspect_ratio_are_taken(bundle, backend):
    localizer = GeoFlowLocalizer(bundle, backend)
    patch = patch_at(bundle)
    small = cv2.GaussianBlur(ground_image(2), (0, 0), 3.0)
    native = localizer.localize(small, patch)
    large = localizer.localize(cv2.resize(small, (1024, 256), interpolation=cv2.INTER_CUBIC), patch)
    np.testing.assert_allclose(large.position, native.position, atol=0.5)
    localizer.localize(np.ascontiguousarray(small[:32, :128]), patch)  # smaller than the model's


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((64, 256), np.uint8), "RGB"),
        (np.zeros((64, 256, 4), np.uint8), "RGB"),
        (np.zeros((64, 256, 3), np.float32), "uint8"),
        (np.full((64, 256, 3), np.nan), "uint8"),
        (np.zeros((0, 256, 3), np.uint8), "empty"),
        (np.zeros((64, 0, 3), np.uint8), "empty"),
        (np.zeros((64, 200, 3), np.uint8), "crop"),
        (np.zeros((256, 64, 3), np.uint8), "crop"),
        (None, "RGB"),
    ],
)
def test_an_image_that_does_not_fit_is_refused_in_one_line_and_the_localizer_lives_on(bundle, backend, image, reason):
    localizer = GeoFlowLocalizer(bundle, backend)
    with pytest.raises(ImageError, match=reason) as caught:
        localizer.localize(image, patch_at(bundle))
    assert "\n" not in str(caught.value)
    assert localizer.localize(ground_image(), patch_at(bundle)).assessment.trustworthy


def test_a_patch_that_the_model_was_not_trained_on_is_refused(bundle, backend):
    localizer = GeoFlowLocalizer(bundle, backend)
    small = PatchFrame(0.0, 0.0, 0.0, 64, 0.7832)
    with pytest.raises(InputError, match="patch"):
        localizer.localize(ground_image(), SatellitePatch(picture((64, 64, 3)), small))
    coarse = PatchFrame(0.0, 0.0, 0.0, 128, 1.0)
    with pytest.raises(InputError, match="m per pixel"):
        localizer.localize(ground_image(), SatellitePatch(picture((128, 128, 3)), coarse))


def test_a_north_up_model_gets_patches_that_are_not_turned(bundle, backend):
    north_up = Bundle(bundle.path, replace(bundle.manifest, alignment="north-up"))
    assert north_up.manifest.patch_frame(1.0, 2.0, 0.9).yaw_rad == 0.0
    assert bundle.manifest.patch_frame(1.0, 2.0, 0.9).yaw_rad == 0.9
    with pytest.raises(InputError, match="north-up"):
        GeoFlowLocalizer(north_up, backend).localize(ground_image(), patch_at(bundle, yaw_rad=0.9))


def test_a_negative_seed_is_refused(bundle, backend):
    with pytest.raises(InputError, match="seed"):
        GeoFlowLocalizer(bundle, backend, seed=-1)


# --- pictures and single images ---------------------------------------------------------------------------------------


def test_the_overlay_marks_answer_and_truth_where_they_are(bundle, backend):
    patch = patch_at(bundle, 100.0, 50.0, 0.5)
    grey = SatellitePatch(np.full_like(patch.pixels, 90), patch.frame)
    fix = GeoFlowLocalizer(bundle, backend).localize(ground_image(), patch)
    truth = patch.frame.local_to_enu([-12.0, 9.0])
    picture_with = draw_fix(grey, fix, truth, size_px=512)
    assert picture_with.shape == (512, 512, 3)
    assert picture_with.dtype == np.uint8

    def colour_at(enu):
        x, y = np.round((patch.frame.to_pixel(enu) + 0.5) * 4.0 - 0.5).astype(int)
        return tuple(int(value) for value in picture_with[y, x])

    red, green, blue = colour_at(fix.position)
    assert red > 200
    assert green < 120
    assert blue < 120
    red, green, blue = colour_at(truth)
    assert green > 200
    assert red < 150
    assert blue < 150


def write_map(path, lat_deg, lon_deg):
    """A random-coloured MBTiles map of zoom 19 around a place."""
    from geoflow_ros.geo import GeoBounds
    from geoflow_ros.tiles import MBTilesWriter, TileFormat, encode_tile

    zoom = 19
    px, py = latlon_to_pixel(lat_deg, lon_deg, zoom)
    column, row = int(px // 256), int(py // 256)
    corners = [tile_bounds(zoom, column - 3, row + 3), tile_bounds(zoom, column + 3, row - 3)]
    bounds = GeoBounds(corners[0].west_deg, corners[0].south_deg, corners[1].east_deg, corners[1].north_deg)
    with MBTilesWriter(path, "test", TileFormat.PNG, bounds, zoom, zoom) as writer:
        for x in range(column - 3, column + 4):
            for y in range(row - 3, row + 4):
                writer.add(zoom, x, y, encode_tile(picture((256, 256, 3), x * 7 + y), TileFormat.PNG))
    return path


def test_one_image_file_on_a_map_gives_degrees_an_ellipse_and_a_picture(tmp_path, converging_bundle):
    lat_deg, lon_deg, heading_deg = 49.01, 8.4, 60.0
    tiles = write_map(tmp_path / "map.mbtiles", lat_deg, lon_deg)
    cv2.imwrite(str(tmp_path / "camera.png"), ground_image())
    overlay = tmp_path / "out" / "overlay.jpg"
    fix, result = localize_image(
        tmp_path / "camera.png", lat_deg, lon_deg, heading_deg, tiles, converging_bundle, overlay_path=overlay
    )
    datum = Datum(lat_deg, lon_deg)
    east_m, north_m = datum.to_enu(result["latitude_deg"], result["longitude_deg"])
    np.testing.assert_allclose([east_m, north_m], fix.position, atol=1e-6)
    forward, right = TAUGHT_OFFSET_M
    yaw = np.radians(90.0 - heading_deg)
    expected = [forward * np.cos(yaw) + right * np.sin(yaw), forward * np.sin(yaw) - right * np.cos(yaw)]
    np.testing.assert_allclose([east_m, north_m], expected, atol=1.5)
    assert result["ellipse"]["semi_major_m"] == confidence_ellipse(fix.covariance).semi_major_m
    assert result["ellipse"]["confidence"] == 0.95
    assert np.shape(result["covariance_m2"]) == (2, 2)
    assert result["quality"]["trustworthy"] is True
    assert result["timings"]["total_ms"] > 0.0
    assert read_image(overlay).shape == (1024, 1024, 3)


def test_files_that_are_not_pictures_are_refused_in_one_line(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not a picture")
    _, data = cv2.imencode(".png", ground_image())
    (tmp_path / "cut.png").write_bytes(data.tobytes()[:40])
    for name in ("empty.png", "text.png", "cut.png", "absent.png"):
        with pytest.raises(ImageError) as caught:
            read_image(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_picture_file_is_read_as_rgb(tmp_path):
    rgb = np.zeros((8, 8, 3), np.uint8)
    rgb[..., 0] = 200
    cv2.imwrite(str(tmp_path / "red.png"), rgb[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "red.png"), rgb)


def test_an_overlay_that_cannot_be_written_is_one_clear_error(tmp_path, converging_bundle):
    tiles = write_map(tmp_path / "map.mbtiles", 49.01, 8.4)
    cv2.imwrite(str(tmp_path / "camera.png"), ground_image())
    (tmp_path / "file").write_text("in the way")
    for overlay in (tmp_path / "overlay.nonsense", tmp_path / "overlay", tmp_path / "file" / "overlay.png"):
        with pytest.raises(InputError):
            localize_image(tmp_path / "camera.png", 49.01, 8.4, 0.0, tiles, converging_bundle, overlay_path=overlay)


def test_a_place_outside_the_map_or_a_heading_that_is_no_number_gives_no_fix(tmp_path, converging_bundle):
    tiles = write_map(tmp_path / "map.mbtiles", 49.01, 8.4)
    cv2.imwrite(str(tmp_path / "camera.png"), ground_image())
    with pytest.raises(GeoFlowError, match="outside the map"):
        localize_image(tmp_path / "camera.png", 50.0, 8.4, 0.0, tiles, converging_bundle)
    with pytest.raises(InputError, match="heading"):
        localize_image(tmp_path / "camera.png", 49.01, 8.4, float("nan"), tiles, converging_bundle)
