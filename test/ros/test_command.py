"""The executable `localizer`: help, what it says when something is missing, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.ros_domain import domain_id

from geoflow_ros.ros.command import INPUTS, OUTPUTS, SERVICES, main
from geoflow_ros.ros.executable import plain_arguments
from geoflow_ros.ros.parameter_table import SPECS

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120.0  # for a process on a busy machine
NO_TILES = "no satellite map"


class Start:
    """Starts executables on a domain that nothing else uses, and ends those that a test has left running."""

    def __init__(self) -> None:
        self.domain = domain_id()
        self._started: list[subprocess.Popen[str]] = []

    def __call__(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(self.domain),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "geoflow_ros.ros.command", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        self._started.append(process)
        return process

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def start() -> Iterator[Start]:
    started = Start()
    yield started
    started.close()


def first_diagnostics(domain: int) -> str:
    """The message of the first diagnostics that a node sends."""
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node

    context = Context()
    rclpy.init(context=context, domain_id=domain)
    listener = Node("test_listener", context=context)
    received: list[DiagnosticArray] = []
    listener.create_subscription(DiagnosticArray, "/diagnostics", received.append, 1)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(listener)
    deadline = time.monotonic() + PATIENCE_S
    while not received and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.5)
    executor.shutdown()
    listener.destroy_node()
    context.try_shutdown()
    assert received, "the node sends no diagnostics"
    return str(received[0].status[0].message)


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Exit code and lines, once the process has ended by itself."""
    output, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, output.splitlines()


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Reads the output until a line holds a text."""
    assert process.stdout is not None
    hung = threading.Timer(PATIENCE_S, process.kill)
    hung.start()
    said = []
    for line in process.stdout:
        said.append(line)
        if text in line:
            hung.cancel()
            return
    hung.cancel()
    raise AssertionError(f"the process ended without '{text}': {''.join(said)}")


# ---- help and arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_explains_every_parameter_topic_and_service_and_ends(
    capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    assert main([flag, "--ros-args", "-p", "tiles.source:=town.mbtiles"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    for name, spec in SPECS.items():
        assert f"{name} ({spec.type_name}, " in words
        assert spec.remark in words
    for name, (kind, what) in {**INPUTS, **OUTPUTS, **SERVICES}.items():
        assert f"{name} {kind} {what}" in words
    assert "localizer --ros-args -p tiles.source:=" in words


def test_help_needs_no_ros() -> None:
    code = (
        "import sys; from geoflow_ros.ros.command import main;"
        "code = main(['--help']); print([m for m in ('rclpy', 'rcl_interfaces') if m in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_an_unknown_argument_is_refused_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiles.source:=town.mbtiles"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "tiles.source:=town.mbtiles" in lines[0]
    assert "--ros-args -p" in lines[0]


@pytest.mark.parametrize(
    ("arguments", "plain"),
    [
        ([], []),
        (["--help"], ["--help"]),
        (["--ros-args", "-p", "a:=1"], []),
        (["x", "--ros-args", "-r", "__node:=n", "--", "y"], ["x", "y"]),
        (["--ros-args", "-p", "a:=1", "--", "--ros-args", "--log-level", "debug"], []),
    ],
)
def test_what_stands_between_ros_args_and_two_dashes_is_ross(arguments: list[str], plain: list[str]) -> None:
    assert plain_arguments(arguments) == plain


# ---- processes -------------------------------------------------------------------------------------------------------


@pytest.fixture
def ros() -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")


@pytest.mark.usefixtures("ros")
def test_without_a_tile_source_the_executable_says_once_how_to_give_it_and_ends(start: Start) -> None:
    code, lines = ended(start())
    assert code == 2
    assert len(lines) == 1, lines
    assert NO_TILES in lines[0]
    assert "-p tiles.source:=" in lines[0]


@pytest.mark.usefixtures("ros")
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--params-file", "/nowhere.yaml"], "/nowhere.yaml"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_arguments_that_cannot_be_used_end_the_executable_with_the_reason(
    start: Start, arguments: list[str], reason: str
) -> None:
    code, lines = ended(start("--ros-args", *arguments))
    assert code == 2
    assert lines[-1].startswith("localizer: ")
    assert reason in lines[-1]
    assert not any("Traceback" in line for line in lines)


@pytest.mark.usefixtures("ros")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_source_from_a_file_that_is_not_there_yet_is_waited_for_until_a_signal_ends_the_node(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    settings = tmp_path / "vehicle.yaml"
    settings.write_text("/**:\n  ros__parameters:\n    tiles: {source: /nowhere.mbtiles}\n")
    node = start("--ros-args", "--params-file", str(settings), "-p", "exit_on_error:=false")
    wait_for(node, "cannot be configured: map file '/nowhere.mbtiles'")
    node.send_signal(number)
    code, lines = ended(node)
    assert code == 0
    assert not any("Traceback" in line for line in lines)


@pytest.mark.usefixtures("ros")
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["tiles.source:=/nowhere.mbtiles"], "map file '/nowhere.mbtiles' is not there"),
        (["tile.source:=/nowhere.mbtiles"], "unknown parameter tile.source: did you mean tiles.source?"),
        (["tiles.source:=/nowhere.mbtiles", "start.latitude_deg:=49"], "both start.latitude_deg and"),
        (["tiles.source:=/nowhere.mbtiles", "model.threads:=2.0"], "model.threads"),
    ],
)
def test_a_configuration_that_cannot_be_used_ends_the_executable_with_the_reason(
    start: Start, arguments: list[str], reason: str
) -> None:
    code, lines = ended(start("--ros-args", *(word for argument in arguments for word in ("-p", argument))))
    assert code == 2
    assert lines[-1].startswith("localizer: ")
    assert reason in lines[-1]
    assert not any("Traceback" in line for line in lines)


@pytest.mark.usefixtures("ros")
def test_the_transition_shutdown_ends_the_process(start: Start) -> None:
    import rclpy
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node

    node = start("--ros-args", "-p", "autostart:=false")
    context = Context()
    rclpy.init(context=context, domain_id=start.domain)
    manager = Node("test_manager", context=context)
    client = manager.create_client(ChangeState, "/geoflow_localizer/change_state")
    assert client.wait_for_service(PATIENCE_S)
    shutdown = Transition(id=Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    future = client.call_async(ChangeState.Request(transition=shutdown))
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(manager)
    executor.spin_until_future_complete(future, PATIENCE_S)
    executor.shutdown()
    manager.destroy_node()
    context.try_shutdown()
    answer = future.result()
    assert answer is not None
    assert answer.success
    code, lines = ended(node)
    assert code == 0
    assert not any("Traceback" in line for line in lines)


@pytest.mark.usefixtures("ros")
def test_a_node_for_a_lifecycle_manager_waits_for_it_without_a_tile_source(start: Start) -> None:
    node = start("--ros-args", "-p", "autostart:=false")
    assert "not localizing: unconfigured" in first_diagnostics(start.domain)
    node.send_signal(signal.SIGTERM)
    code, lines = ended(node)
    assert code == 0
    assert not any(NO_TILES in line for line in lines)


@pytest.mark.usefixtures("ros")
def test_a_signal_while_the_modules_are_imported_ends_the_process_in_order() -> None:
    code = (
        "import os, signal, sys; from geoflow_ros.ros import command;"
        "sys.meta_path.insert(0, type('Finder', (), {'find_spec': staticmethod("
        "lambda name, *_: os.kill(os.getpid(), signal.SIGINT) if name == 'rclpy' else None)}));"
        "sys.exit(command.main([]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
