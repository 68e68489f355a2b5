"""The command line: what it prints, what it writes, and one clear line for everything that cannot be done."""

import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from geoflow_ros import cli
from geoflow_ros.world import Area, Camera, World, write_mbtiles

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str | Path) -> int:
    """The exit code, also where argparse ends the program."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)


def the_one_line(capsys) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    "command",
    [
        [], ["demo"], ["localize"], ["train"], ["export"], ["evaluate"], ["evaluate", "synthetic"], ["evaluate", "bag"],
        ["evaluate", "calibrate"], ["evaluate", "curves"], ["evaluate", "precision"], ["tiles"], ["tiles", "serve"],
        ["tiles", "info"], ["bench"],
    ],
)  # fmt: skip
def test_every_command_explains_itself(command, capsys):
    assert run(*command, "--help") == 0
    assert "usage: geoflow" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "COMMAND"),
        (["fly"], "fly"),
        (["demo", "--seconds", "0"], "above 0"),
        (["demo", "--seconds", "nan"], "above 0"),
        (["demo", "--area", "mars"], "mars"),
        (["demo", "--seed", "-1"], "seed"),
        (["evaluate", "synthetic"], "--area"),
        (["evaluate", "synthetic", "--area", "same", "--pairs", "0"], "at least 1"),
        (["evaluate", "synthetic", "--area", "same", "--hypotheses", "many"], "whole number"),
        (["evaluate", "synthetic", "--area", "same", "--heading-error-deg", "-1"], "0 or more"),
        (
            ["evaluate", "synthetic", "--area", "same", "--heading-error-deg", "1", "--heading-uniform-deg", "2"],
            "not allowed with",
        ),
        (["evaluate", "synthetic", "--area", "same", "--model", "no-such"], "no model bundle 'no-such'"),
        (["evaluate", "calibrate", "--model", "no-such"], "no model bundle"),
        (["evaluate", "bag", "no-such-bag"], "no bag"),
        (["evaluate", "curves", "no-such-run", "--out", "curves.png"], "no learning curve"),
        (["tiles", "info", "no-such.mbtiles"], "no-such.mbtiles"),
        (["tiles", "info", "ftp://somewhere"], "ftp"),
        (["tiles", "serve", "no-such.mbtiles", "--port", "70000"], "65535"),
        (["train", "--out", "runs/x"], "needs an end"),
        (["train", "--out", "runs/x", "--steps", "1", "--town-share", "2"], "between 0 and 1"),
        (["train", "--out", "no-such-run", "--steps", "1", "--resume"], "no-such-run"),
        (["train", "--out", "runs/x", "--steps", "1", "--extend"], "resume"),
        (["export", "--checkpoint", "no-such.pth", "--out", "bundle"], "no-such.pth"),
        (["export", "--checkpoint", "no-such.pth"], "--out"),
        (["export", "--bundle", "synthetic"], "--tensorrt"),
        (["export", "--bundle", "synthetic", "--tensorrt", "--precision", "fp16", "--pairs", "100"], "500 at least"),
        (["export", "--bundle", "synthetic", "--checkpoint", "no-such.pth"], "not allowed with"),
        (["evaluate", "precision", "--backend", "abacus"], "abacus"),
        (["evaluate", "precision", "--backend", "onnxruntime", "--precision", "fp32"], "nothing to compare"),
    ],
)
def test_bad_input_ends_with_exit_code_2_and_one_line(arguments, reason, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    line = the_one_line(capsys)
    assert line.startswith("geoflow")
    assert reason in line
    assert list(tmp_path.iterdir()) == []  # nothing half-made is left behind


def test_a_missing_optional_dependency_names_the_extra_to_install(tmp_path):
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'matplotlib', 'rosbags'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from geoflow_ros.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\n')
    for arguments, extra in (
        (["train", "--out", str(tmp_path / "run"), "--steps", "1"], "geoflow_ros[train]"),
        (["export", "--checkpoint", "x", "--out", "y"], "geoflow_ros[train]"),
        (["evaluate", "bag", str(tmp_path)], "geoflow_ros[plots]"),
        (["evaluate", "curves", str(tmp_path), "--out", "curves.png"], "geoflow_ros[plots]"),
    ):
        result = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 2, result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert extra in result.stderr


def test_an_interrupted_command_says_so_without_a_traceback(capsys, monkeypatch):
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "command_tiles_info", interrupted)
    assert run("tiles", "info", "x") == 130
    assert "interrupted" in the_one_line(capsys)


# --- tiles -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def town_map(tmp_path_factory) -> tuple[World, Path]:
    """A piece of the town around the middle of a road, as MBTiles."""
    world = World.of(Area.SAME, 5)
    road = max(world.layout.roads, key=lambda road: road.length_m)
    east, north = road.points[len(road.points) // 2]
    path = tmp_path_factory.mktemp("map") / "town.mbtiles"
    write_mbtiles(world, path, (east - 110, north - 110, east + 110, north + 110))
    return world, path


def test_tiles_info_tells_what_a_map_holds(town_map, tmp_path, capsys):
    assert run("tiles", "info", town_map[1], "--json", tmp_path / "new" / "info.json") == 0
    assert "max_zoom" in capsys.readouterr().out
    facts = json.loads((tmp_path / "new" / "info.json").read_text())
    west, south, east, north = facts["bounds"]
    assert west < facts["centre"][1] < east
    assert south < facts["centre"][0] < north


def test_tiles_serve_answers_until_it_is_interrupted(town_map):
    command = [sys.executable, "-u", "-m", "geoflow_ros.cli", "tiles", "serve", str(town_map[1]), "--port", "0"]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    assert server.stderr is not None
    try:
        line = server.stdout.readline()
        base = line.split(": ")[1].split("/{z}")[0]
        with urllib.request.urlopen(f"{base}/", timeout=30) as answer:
            assert json.load(answer)["tilejson"] == "3.0.0"
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=30) == 0
        assert server.stderr.read() == ""
    finally:
        server.kill()
        server.stdout.close()
        server.stderr.close()


def test_a_truncated_map_is_refused(town_map, tmp_path, capsys):
    broken = tmp_path / "broken.mbtiles"
    broken.write_bytes(town_map[1].read_bytes()[:5000])
    assert run("tiles", "info", broken) == 2
    assert "broken.mbtiles" in the_one_line(capsys)


# --- localize --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def camera_image(town_map, tmp_path_factory) -> tuple[Path, float, float, float]:
    """What a vehicle on the road of `town_map` sees: the file, latitude, longitude and compass heading."""
    world, _ = town_map
    road = max(world.layout.roads, key=lambda road: road.length_m)
    (east, north), yaw = road.at(road.length_m / 2, road.lane_offset_m())
    view = world.view(Camera.perspective(1024, 256), float(east), float(north), float(yaw))
    path = tmp_path_factory.mktemp("camera") / "view.png"
    assert cv2.imwrite(str(path), view.rgb[0][..., ::-1])
    lat, lon = world.datum.to_latlon(float(east), float(north))
    return path, float(lat), float(lon), float(90.0 - np.degrees(yaw))


@pytest.fixture
def localize(converging_bundle):
    def localize(camera_image, tiles: Path, *more: str | Path) -> int:
        image, lat, lon, heading = camera_image
        place = ["--lat", repr(lat), "--lon", repr(lon), "--heading", repr(heading)]
        return run("localize", "--image", image, *place, "--tiles", tiles, "--model", converging_bundle, *more)

    return localize


def test_localize_gives_position_ellipse_and_picture(localize, camera_image, town_map, tmp_path, capsys):
    out, facts = tmp_path / "new" / "fix.png", tmp_path / "fix.json"
    assert localize(camera_image, town_map[1], "--out", out, "--json", facts) == 0
    printed = capsys.readouterr().out
    assert "latitude" in printed
    assert "longitude" in printed
    assert "ellipse" in printed
    result = json.loads(facts.read_text())
    assert abs(result["latitude_deg"] - camera_image[1]) < 1e-3
    assert abs(result["longitude_deg"] - camera_image[2]) < 1e-3
    assert np.linalg.eigvalsh(result["covariance_m2"]).min() > 0
    assert cv2.imread(str(out)) is not None


def test_localize_refuses_what_is_not_an_image(localize, camera_image, town_map, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no picture")
    assert localize((tmp_path / "text.png", *camera_image[1:]), town_map[1]) == 2
    assert "text.png" in the_one_line(capsys)


def test_localize_refuses_an_image_of_another_shape(localize, camera_image, town_map, tmp_path, capsys):
    assert cv2.imwrite(str(tmp_path / "square.png"), np.zeros((64, 64, 3), np.uint8))
    assert localize((tmp_path / "square.png", *camera_image[1:]), town_map[1]) == 2
    assert "64 x 64" in the_one_line(capsys)


@pytest.mark.parametrize("lat", [48.0, 91.0])
def test_localize_refuses_a_place_outside_the_map_or_the_earth(localize, camera_image, town_map, lat, capsys):
    assert localize((camera_image[0], lat, *camera_image[2:]), town_map[1]) == 2
    the_one_line(capsys)


def test_localize_refuses_a_damaged_bundle(converging_bundle, camera_image, town_map, tmp_path, capsys):
    copy = tmp_path / "bundle"
    shutil.copytree(converging_bundle, copy)
    (copy / "head.onnx").write_bytes(b"damaged")
    image, lat, lon, heading = camera_image
    place = ["--lat", str(lat), "--lon", str(lon), "--heading", str(heading)]
    assert run("localize", "--image", image, *place, "--tiles", town_map[1], "--model", copy) == 2
    assert "head.onnx" in the_one_line(capsys)


def test_an_output_that_cannot_be_written_is_one_line(localize, camera_image, town_map, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert localize(camera_image, town_map[1], "--out", tmp_path / "file" / "fix.png") == 2
    assert "file" in the_one_line(capsys)
    assert localize(camera_image, town_map[1], "--json", tmp_path / "file" / "fix.json") == 2
    assert "file" in the_one_line(capsys)


# --- evaluate, train -------------------------------------------------------------------------------------------------


def test_evaluate_synthetic_writes_its_figures(converging_bundle, tmp_path, capsys):
    facts = tmp_path / "figures.json"
    arguments = ["--area", "cross", "--model", converging_bundle, "--pairs", "2", "--seed", "3", "--json", facts]
    assert run("evaluate", "synthetic", *arguments, "--hypotheses", "4", "--iterations", "2", "--quiet") == 0
    assert "2 pairs, cross-area" in capsys.readouterr().out
    result = json.loads(facts.read_text())
    assert result["pairs"] == 2
    assert result["hypotheses"] == 4
    assert result["iterations"] == 2
    assert result["mean_error_m"] > 0


def test_bench_measures_the_renderer(tmp_path, capsys):
    assert run("bench", "--renderer", "--frames", "1", "--threads", "1", "--json", tmp_path / "bench.json") == 0
    assert "frames/s" in capsys.readouterr().out
    assert json.loads((tmp_path / "bench.json").read_text())["half"]["frames_per_second"] > 0


def test_a_training_is_interrupted_and_resumed(tmp_path, capsys):
    folder = tmp_path / "run"
    settings = ["--out", folder, "--steps", "2", "--batch-size", "4", "--validation-pairs", "1"]
    result = ["--json", tmp_path / "result.json"]
    assert run("train", *settings, *result, "--max-minutes", "0.0001") == 0
    stopped = json.loads((tmp_path / "result.json").read_text())
    assert not stopped["is_finished"]
    assert stopped["step"] < 2
    assert "--resume" in capsys.readouterr().out

    assert run("train", *settings, *result, "--resume") == 0
    finished = json.loads((tmp_path / "result.json").read_text())
    assert finished["is_finished"]
    assert finished["step"] == 2
    assert Path(finished["best_checkpoint"]).is_file()

    assert run("evaluate", "curves", folder, "--out", tmp_path / "curves.png") == 0
    assert cv2.imread(str(tmp_path / "curves.png")) is not None


@pytest.mark.parametrize("module", ["rclpy", "rosbags", "matplotlib"])
def test_a_demo_without_its_extra_says_so_at_once(module, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    assert run("demo", "--out", tmp_path / "demo") == 2
    assert "pip install 'geoflow_ros[" in the_one_line(capsys)
    assert not (tmp_path / "demo").exists()
