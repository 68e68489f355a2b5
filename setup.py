"""One description for colcon (ament_python), `pip install .` and the package index.

Launch files, configuration and model bundles are data files, so that every kind of install has them under
`<prefix>/share/geoflow_ros/`; `geoflow_ros.resources` finds them there and in a source checkout. The metadata
are here and not in pyproject.toml because data files are collected by code, and colcon reads setup.py.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "geoflow_ros"
ROOT = Path(__file__).resolve().parent
SHARE = f"share/{PACKAGE}"

RUN_TIME = [
    "numpy>=1.24",
    "opencv-python-headless>=4.8",
    "onnxruntime>=1.17",
    "pymap3d>=2.9",
    "msgspec>=0.18",
    "pyyaml>=6.0",  # cameras' calibration files
    "requests>=2.31",
    "tqdm>=4.64",
]
# cyclonedds sends and takes TF: the index has no tf2_msgs. A ROS installation does not need it.
ROS = ["ros-jazzy-rclpy[fastrtps]", "ros-jazzy-common-interfaces", "rosbags>=0.10", "cyclonedds>=0.10.5"]
PLOTS = ["matplotlib>=3.7", "rosbags>=0.10"]
TRAIN = ["torch==2.13.0", "onnx>=1.16", "onnxscript>=0.5", "safetensors>=0.4", "tensorboard>=2.15"]
OPENVINO = ["openvino>=2024.4"]
# The engine builder and the GPU's memory; `rtx` needs no GPU to build, `tensorrt` is for those who have it from pip
# (on a Jetson it comes with JetPack, and cuda-python alone is missing).
RTX = ["tensorrt-rtx-cu12>=1.1", "cuda-python>=12.8"]
TENSORRT = ["tensorrt>=10.3", "cuda-python>=12.8"]
# Map files: pictures in any coordinate system (GDAL comes with the wheel), and archives of the web.
GEOTIFF = ["rasterio>=1.3"]
PMTILES = ["pmtiles>=3.4"]
DOCS = ["sphinx>=7.4", "myst-parser>=3", "furo>=2024.8"]
TEST = ["pytest>=7.4", "pytest-xdist>=3.5", "ruff>=0.6", "mypy>=1.11"]


def version() -> str:
    """The version that the package itself states, read without importing it."""
    source = (ROOT / PACKAGE / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"', source, re.MULTILINE)
    if match is None:
        raise RuntimeError(f"{PACKAGE}/__init__.py does not state __version__")
    return match.group(1)


def shared_files() -> list[tuple[str, list[str]]]:
    """Every file below launch/, config/ and models/, folder by folder (paths relative to this file).

    Checkpoints to train on from stay in the repository: a vehicle has no use for them. So do engines, which are for one
    GPU.
    """
    folders: dict[str, list[str]] = {}
    for top in ("launch", "config", "models"):
        for path in sorted((ROOT / top).rglob("*")):
            relative = path.relative_to(ROOT)
            is_local = {"checkpoint", "engines"} & {*relative.parts}
            if path.is_file() and path.suffix != ".pyc" and not is_local:
                folders.setdefault(f"{SHARE}/{relative.parent.as_posix()}", []).append(relative.as_posix())
    return sorted(folders.items())


setup(
    name=PACKAGE,
    version=version(),
    description="Real-time camera-to-satellite localization for ROS 2: a global pose with an honest covariance",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    author="geoflow_ros maintainers",
    author_email="maintainers@geoflow-ros.org",
    maintainer="geoflow_ros maintainers",
    maintainer_email="maintainers@geoflow-ros.org",
    license="Apache-2.0",
    keywords=["ROS 2", "localization", "satellite imagery", "cross-view", "robotics"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (SHARE, ["package.xml"]),
        *shared_files(),
    ],
    zip_safe=False,
    install_requires=RUN_TIME,
    extras_require={
        "ros": ROS,
        "plots": PLOTS,
        "demo": ROS + PLOTS,
        "openvino": OPENVINO,
        "rtx": RTX,
        "tensorrt": TENSORRT,
        "train": TRAIN,
        "geotiff": GEOTIFF,
        "pmtiles": PMTILES,
        "docs": DOCS,
        "test": TEST,
    },
    entry_points={
        "console_scripts": [
            "geoflow = geoflow_ros.cli:main",
            "localizer = geoflow_ros.cli:localizer",
            "tile_publisher = geoflow_ros.cli:tile_publisher",
        ],
    },
)
