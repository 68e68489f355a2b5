"""The package as colcon, pip and a source checkout see it."""

import configparser
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import geoflow_ros
from geoflow_ros import resources
from geoflow_ros.cli.options import add_model
from geoflow_ros.cli.parser import CommandParser
from geoflow_ros.errors import BundleError, InputError
from geoflow_ros.localization.opening import VehicleOptions
from geoflow_ros.ros.parameter_table import SPECS
from geoflow_ros.simulation.demo import default_model
from geoflow_ros.world import Area

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def package_xml() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def test_package_xml_is_format_3_for_ament_python(package_xml: ElementTree.Element) -> None:
    assert package_xml.tag == "package"
    assert package_xml.get("format") == "3"
    assert package_xml.findtext("name") == "geoflow_ros"
    assert package_xml.findtext("export/build_type") == "ament_python"
    assert package_xml.findtext("license") == "Apache-2.0"


def test_package_xml_names_a_maintainer_that_can_be_written_to(package_xml: ElementTree.Element) -> None:
    maintainer = package_xml.find("maintainer")
    assert maintainer is not None
    assert maintainer.text
    assert re.fullmatch(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", maintainer.get("email", ""))


def test_package_xml_lists_the_ros_dependencies(package_xml: ElementTree.Element) -> None:
    keys = {element.text for element in package_xml if element.tag in ("depend", "exec_depend")}
    assert {
        "rclpy", "sensor_msgs", "nav_msgs", "geometry_msgs", "diagnostic_msgs", "std_msgs", "std_srvs",
        "tf2_ros", "cv_bridge", "launch_ros", "python3-numpy", "python3-opencv",
    } <= keys  # fmt: skip


def test_one_version_is_stated_everywhere(package_xml: ElementTree.Element) -> None:
    assert package_xml.findtext("version") == geoflow_ros.__version__
    printed = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert printed.stdout.split()[-1] == geoflow_ros.__version__


def test_executables_go_where_ros2_run_looks() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["install"]["install_scripts"] == "$base/lib/geoflow_ros"
    assert (ROOT / "resource" / "geoflow_ros").is_file()


def test_a_source_checkout_finds_its_own_models_and_configuration() -> None:
    assert resources.models_dir() == ROOT / "models"
    assert resources.config_file("geoflow.yaml") == ROOT / "config" / "geoflow.yaml"
    assert resources.available_models()


def test_a_model_is_found_by_name_and_by_path() -> None:
    name = resources.available_models()[0]
    assert resources.model_path(name) == ROOT / "models" / name
    assert resources.model_path(ROOT / "models" / name) == ROOT / "models" / name


def test_an_unknown_model_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(BundleError, match=resources.available_models()[0]):
        resources.model_path("no-such-model")


def test_a_missing_configuration_file_is_named() -> None:
    with pytest.raises(InputError, match=re.escape("config/nothing.yaml")):
        resources.config_file("nothing.yaml")


def test_an_installed_package_finds_its_share_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "lib" / "python3.11" / "site-packages" / "geoflow_ros"
    bundle = tmp_path / "share" / "geoflow_ros" / "models" / "tiny"
    installed.mkdir(parents=True)
    bundle.mkdir(parents=True)
    (bundle / "manifest.json").write_text("{}")
    monkeypatch.setattr(resources, "__file__", str(installed / "resources.py"))
    assert resources.models_dir() == bundle.parent
    assert resources.model_path("tiny") == bundle


def test_an_overlaid_workspace_is_found_through_the_ament_prefix_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "build" / "geoflow_ros"
    share = tmp_path / "install" / "geoflow_ros" / "share" / "geoflow_ros" / "config"
    installed.mkdir(parents=True)
    share.mkdir(parents=True)
    (share / "geoflow.yaml").touch()
    monkeypatch.setattr(resources, "__file__", str(installed / "resources.py"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "install" / "geoflow_ros"))
    assert resources.config_file("geoflow.yaml") == share / "geoflow.yaml"


def test_the_run_time_path_imports_neither_torch_nor_ros() -> None:
    code = (
        "import sys; import geoflow_ros.inference, geoflow_ros.tiles, geoflow_ros.tracking, geoflow_ros.world,"
        " geoflow_ros.evaluation.comparison, geoflow_ros.evaluation.bag, geoflow_ros.cli;"
        "print([m for m in ('torch', 'rclpy', 'onnx', 'matplotlib', 'rosbags') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_entry_takes_the_same_model_where_none_is_named() -> None:
    launch = (ROOT / "launch" / "demo.launch.py").read_text(encoding="utf-8")
    assert resources.DEFAULT_MODEL in resources.available_models()
    parser = CommandParser()
    add_model(parser)
    assert parser.parse_args([]).model == resources.DEFAULT_MODEL
    assert SPECS["model.path"].default == resources.DEFAULT_MODEL
    assert VehicleOptions(tiles="").model == resources.DEFAULT_MODEL
    assert {default_model(area) for area in Area} == {resources.DEFAULT_MODEL}
    assert f'DeclareLaunchArgument("model", default_value="{resources.DEFAULT_MODEL}"' in launch
