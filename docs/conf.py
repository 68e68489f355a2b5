"""Sphinx builds the pages of this folder and the API reference; `make docs` runs it, with warnings as errors.

Neither ROS nor torch has to be installed: what only some rooms need is mocked. The reference of the commands and the
list of the package's modules are made at each build, so that they cannot differ from the code.
"""

import os
import subprocess
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.ext import apidoc

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from geoflow_ros import __version__  # noqa: E402 - from this checkout, whatever is installed

project = "geoflow_ros"
author = "geoflow_ros maintainers"
copyright = "2026, geoflow_ros maintainers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"geoflow_ros {__version__}"

myst_heading_anchors = 3
# Docstrings name classes and functions in single backticks.
default_role = "py:obj"
# A name such as `pose` may be an attribute of several classes; then it stays plain text.
suppress_warnings = ["ref.python"]

napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    # What a room's __init__ offers is documented where it is defined.
    "ignore-module-all": True,
}
autodoc_mock_imports = [
    *("torch", "onnx", "onnxscript", "safetensors", "tensorboard", "matplotlib", "rosbags"),
    *("openvino", "tensorrt", "tensorrt_rtx", "cuda"),
    *("rclpy", "rcl_interfaces", "builtin_interfaces", "diagnostic_msgs", "geometry_msgs", "lifecycle_msgs"),
    *("nav_msgs", "rosgraph_msgs", "sensor_msgs", "std_msgs", "std_srvs", "tf2_msgs", "tf2_ros", "cv_bridge"),
    "cyclonedds",
]

COMMANDS = (
    *("demo", "localize", "train", "export", "evaluate", "evaluate synthetic", "evaluate calibrate"),
    *("evaluate precision", "evaluate bag", "evaluate curves", "replay", "tiles", "tiles info", "tiles serve", "bench"),
)
COMMAND_COLUMNS = 100


def write_module_pages(_: Sphinx) -> None:
    """Writes one page for each room of the package."""
    pages = HERE / "api" / "generated"
    apidoc.main(["--force", "--module-first", "--no-toc", "--output-dir", str(pages), str(ROOT / "geoflow_ros")])


def write_command_pages(_: Sphinx) -> None:
    """Writes what each command's --help prints."""
    folder = HERE / "api" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "COLUMNS": str(COMMAND_COLUMNS),
        "TERM": "dumb",
        "NO_COLOR": "1",
    }
    lines = ["# All options", "", "What `geoflow COMMAND --help` prints.", ""]
    for command in COMMANDS:
        code = f"import sys; from geoflow_ros.cli import main; sys.exit(main({[*command.split(), '--help']!r}))"
        printed = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        ).stdout
        lines += [f"## geoflow {command}", "", "```text", printed.replace(" -c", " geoflow").rstrip(), "```", ""]
    (folder / "options.md").write_text("\n".join(lines), encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Connects the two generators with the start of a build."""
    app.connect("builder-inited", write_module_pages)
    app.connect("builder-inited", write_command_pages)
