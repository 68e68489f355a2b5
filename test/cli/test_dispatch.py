"""Every command explains itself, and answers what it cannot do with one line and an exit code."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.command_line import ROOT, only_line, run

from geoflow_ros.cli import dispatch
from geoflow_ros.cli.dispatch import COMMANDS
from geoflow_ros.resources import DEFAULT_MODEL

COMMAND_LINES = [
    *([name] for name in COMMANDS),
    *(["evaluate", kind] for kind in ("synthetic", "calibrate", "precision", "bag", "curves")),
    *(["tiles", action] for action in ("serve", "info")),
]


@pytest.mark.parametrize("command", [[], *COMMAND_LINES], ids=" ".join)
def test_every_command_explains_itself(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*command, "--help") == 0
    assert f"usage: {' '.join(['geoflow', *command])}" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMAND_LINES, ids=" ".join)
def test_every_option_has_an_explanation(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[argparse.Action] = []

    def keep_actions(parser: argparse.ArgumentParser) -> str:
        asked.extend(parser._actions)
        return ""

    monkeypatch.setattr(argparse.ArgumentParser, "format_help", keep_actions)
    assert run(*command, "--help") == 0
    options = [action for action in asked if action.option_strings]
    assert options
    assert [action.option_strings for action in options if not action.help] == []


def test_the_help_tells_defaults(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run("evaluate", "synthetic", "--help")
    told = " ".join(capsys.readouterr().out.split())
    assert "--seed N which pairs; with --area cross also which cities (default 0)" in told
    assert f"(default {DEFAULT_MODEL})" in told
    assert "(default: the bundle's)" in told
    run("demo", "--help")
    assert "length of the drive, real time (default 60; with --faults theirs)" in capsys.readouterr().out


def test_help_is_told_without_the_libraries_of_the_commands() -> None:
    code = (
        "import sys\n"
        "from geoflow_ros.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "except SystemExit:\n"
        "    pass\n"
        "assert not {'numpy', 'cv2', 'onnxruntime', 'torch', 'rclpy'} & set(sys.modules), sorted(sys.modules)\n"
    )
    for arguments in (["--help"], ["train", "--help"], ["localize", "--help"], ["evaluate", "synthetic", "--help"]):
        result = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "COMMAND"),
        (["fly"], "fly"),
        (["demo", "--wings"], "geoflow demo: unrecognized arguments: --wings"),
        (["demo", "--seconds", "0"], "above 0"),
        (["demo", "--seconds", "nan"], "above 0"),
        (["demo", "--seconds", "inf"], "above 0"),
        (["demo", "--area", "mars"], "mars"),
        (["demo", "--seed", "-1"], "argument --seed: must be between 0 and 2147483647"),
        (["evaluate", "synthetic"], "--area"),
        (["evaluate", "synthetic", "--area", "same", "--pairs", "0"], "at least 1"),
        (["evaluate", "synthetic", "--area", "same", "--hypotheses", "many"], "whole number"),
        (["evaluate", "synthetic", "--area", "same", "--heading-error-deg", "-1"], "at least 0"),
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
def test_bad_input_ends_with_exit_code_2_and_one_line(
    arguments: list[str],
    reason: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    line = only_line(capsys)
    assert line.startswith("geoflow")
    assert reason in line
    assert list(tmp_path.iterdir()) == []  # nothing half-made is left behind


def test_a_missing_optional_dependency_names_the_extra_to_install(tmp_path: Path) -> None:
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


def test_a_module_that_no_extra_brings_is_an_error_of_ours() -> None:
    with pytest.raises(ModuleNotFoundError, match="geoflow_ros.nowhere"):
        dispatch._missing_extra(ModuleNotFoundError("No module named 'geoflow_ros.nowhere'", name="geoflow_ros"))


@pytest.mark.parametrize("module", ["rclpy", "rosbags", "matplotlib"])
def test_a_demo_without_its_extra_says_so_at_once(
    module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]  # as if it were not installed
    assert run("demo", "--out", tmp_path / "demo") == 2
    assert "pip install 'geoflow_ros[" in only_line(capsys)
    assert not (tmp_path / "demo").exists()


def test_a_reader_that_has_gone_ends_the_command_quietly(tmp_path: Path) -> None:
    shell = f"{sys.executable} -m geoflow_ros.cli tiles info no-such.mbtiles 2>&1 | true; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", shell], cwd=ROOT, capture_output=True, text=True)
    assert result.stderr == ""
