"""Where the files that travel with the package are: model bundles, launch files, configuration.

They lie in the root of a source checkout and, once installed (colcon, pip, a distribution's package), in
`<prefix>/share/geoflow_ros/`. Both are found from where this module lies, so that no environment variable is needed.
"""

import os
from pathlib import Path

from geoflow_ros.errors import BundleError, InputError

DEFAULT_MODEL = "birds_eye"
"""Name of the shipped bundle that everything takes where no other is named."""

GEOFLOW_MODEL = "synthetic"
"""Name of the shipped bundle of GeoFlow."""

_PACKAGE = "geoflow_ros"


def share_dirs() -> list[Path]:
    """The folders that hold `models/`, `launch/` and `config/`, the nearest first; only folders that exist."""
    package = Path(__file__).resolve().parent
    # A source checkout (also when it is installed editable, or with colcon's --symlink-install).
    candidates = [package.parent] if (package.parent / "package.xml").is_file() else []
    # <prefix>/lib/pythonX.Y/site-packages/geoflow_ros -> <prefix>/share/geoflow_ros; `pip install --target` puts
    # share/ beside the package itself. Looking at every parent covers both, and dist-packages of Debian too.
    candidates += [parent / "share" / _PACKAGE for parent in list(package.parents)[:5]]
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    candidates += [Path(prefix) / "share" / _PACKAGE for prefix in prefixes if prefix]
    return [folder for folder in dict.fromkeys(candidates) if folder.is_dir()]


def models_dir() -> Path:
    """The folder with the model bundles that came with the package.

    Raises:
        InputError: no such folder; the installation is incomplete.
    """
    return _find("models")


def config_file(name: str) -> Path:
    """The configuration file `name` (such as `geoflow.yaml`) that came with the package.

    Raises:
        InputError: no such file.
    """
    return _find(f"config/{name}")


def available_models() -> list[str]:
    """The names of the bundles in `models_dir()`, sorted; empty where the package came without models."""
    names = {manifest.parent.name for folder in share_dirs() for manifest in folder.glob("models/*/manifest.json")}
    return sorted(names)


def model_path(name_or_path: str | Path) -> Path:
    """The folder of a model bundle, named either by its path or by its name among the shipped ones.

    Raises:
        BundleError: neither a folder nor a shipped bundle's name; the message lists the names there are.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path
    if path.name == str(name_or_path):
        for folder in share_dirs():
            bundle = folder / "models" / path.name
            if (bundle / "manifest.json").is_file():
                return bundle
    names = ", ".join(available_models()) or "none"
    raise BundleError(f"no model bundle '{name_or_path}': give a folder, or the name of a shipped one ({names})")


def cache_dir() -> Path:
    """The user's folder for what can be made again (compiled models, timings); it need not exist or be writable.

    After the XDG Base Directory Specification: `$XDG_CACHE_HOME`, else `~/.cache`.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path("~/.cache").expanduser()
    return root / _PACKAGE


def _find(relative: str) -> Path:
    folders = share_dirs()
    for folder in folders:
        if (folder / relative).exists():
            return folder / relative
    places = ", ".join(str(folder) for folder in folders) or "no share folder"
    raise InputError(f"this installation of geoflow_ros came without {relative} (looked in {places}): reinstall it")
