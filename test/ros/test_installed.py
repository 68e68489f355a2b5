"""The package as colcon installs it, started by launch: what is remapped, found and ended as on a vehicle."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2 (the extra [ros], or a ROS installation)")
from fakes.process_groups import end_session, wait_until_empty  # noqa: E402
from fakes.ros_domain import domain_id  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120.0
LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
file, *arguments = sys.argv[1:]
service = LaunchService(noninteractive=True)
included = IncludeLaunchDescription(
    PythonLaunchDescriptionSource(file), launch_arguments=[tuple(a.split(":=", 1)) for a in arguments]
)
service.include_launch_description(LaunchDescription([included]))
sys.exit(service.run())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix that colcon makes."""
    if importlib.util.find_spec("colcon_core") is None:
        pytest.skip("colcon comes with a ROS distribution, or from pip: colcon-common-extensions")
    folder = tmp_path_factory.mktemp("workspace")
    command = [sys.executable, "-m", "colcon", "--log-base", str(folder / "log"), "build"]
    command += ["--packages-select", "geoflow_ros", "--base-paths", str(ROOT)]
    command += ["--build-base", str(folder / "build"), "--install-base", str(folder / "install")]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "install" / "geoflow_ros"


def test_colcon_installs_what_a_vehicle_needs(installed: Path) -> None:
    share = installed / "share" / "geoflow_ros"
    for folder in ("launch", "config"):
        expected = {path.name for path in (ROOT / folder).iterdir() if path.is_file()}
        assert {path.name for path in (share / folder).iterdir()} == expected
    assert (share / "package.xml").is_file()
    assert (share / "models" / "birds_eye" / "manifest.json").is_file()
    assert (installed / "share" / "ament_index" / "resource_index" / "packages" / "geoflow_ros").is_file()
    assert os.access(installed / "lib" / "geoflow_ros" / "localizer", os.X_OK)


@pytest.fixture
def domain() -> int:
    return domain_id()


@pytest.fixture
def launched(
    installed: Path, bundle: Path, tiles: str, tmp_path: Path, domain: int
) -> Iterator[subprocess.Popen[bytes]]:
    """The installed launch file at work, in a session of its own; its output is in `log`."""
    pytest.importorskip("launch_ros", reason="launch comes with a ROS distribution, not from a package index")
    (site_packages,) = installed.glob("lib/python3*/site-packages")
    before = {name: os.environ.get(name, "") for name in ("AMENT_PREFIX_PATH", "PYTHONPATH")}
    environment = {
        **os.environ,
        "AMENT_PREFIX_PATH": os.pathsep.join([str(installed), before["AMENT_PREFIX_PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(site_packages), before["PYTHONPATH"]]),
        "ROS_DOMAIN_ID": str(domain),
        "ROS_LOG_DIR": str(tmp_path),
    }
    file = installed / "share" / "geoflow_ros" / "launch" / "geoflow.launch.py"
    arguments = ["namespace:=car", "image:=/front/image_raw", f"tiles:={tiles}", f"model:={bundle}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(file), *arguments],
            stdout=log,
            stderr=log,
            env=environment,
            cwd=tmp_path,
            start_new_session=True,
        )
    yield process
    end_session(process.pid)
    process.wait()


def test_the_installed_node_is_launched_remapped_and_ends_with_sigint(
    launched: subprocess.Popen[bytes], tmp_path: Path, domain: int
) -> None:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    try:
        looker = rclpy.create_node("looker", context=context)
        deadline = time.monotonic() + PATIENCE_S
        while not (found := looker.get_subscriptions_info_by_topic("/front/image_raw")):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            assert launched.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        looker.destroy_node()
    finally:
        rclpy.try_shutdown(context=context)
    assert [(node.node_namespace, node.node_name) for node in found] == [("/car", "geoflow_localizer")]
    launched.send_signal(signal.SIGINT)
    assert launched.wait(PATIENCE_S) == 0, (tmp_path / "log").read_text()
    assert wait_until_empty(launched.pid) == {}
