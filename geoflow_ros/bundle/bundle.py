"""A model bundle on disk: the ONNX graphs of a method and the manifest that they must match."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from geoflow_ros.bundle.manifest import FILE_NAME, Manifest
from geoflow_ros.bundle.manifest_reader import read_manifest
from geoflow_ros.errors import BundleError
from geoflow_ros.files import write_atomically


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes:
        path: its folder.
        manifest: what it says about itself.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Reads the manifest and checks every file's checksum against it.

        Args:
            path: folder with `manifest.json` and the graphs.

        Raises:
            BundleError: no such folder, a manifest that cannot be used, or a file that is missing or has other bytes
                than when the bundle was written.
        """
        folder = Path(path).expanduser()
        if not folder.is_dir():
            raise BundleError(f"{folder} is not a folder: give the folder of a model bundle, such as models/synthetic")
        if not (folder / FILE_NAME).is_file():
            raise BundleError(f"{folder} has no {FILE_NAME}: it is not a model bundle; `geoflow export` writes one")
        manifest = read_manifest(folder / FILE_NAME)
        for graph in manifest.graphs:
            if _file_name(graph) not in manifest.files:
                raise BundleError(f"{folder / FILE_NAME} has no checksum of {_file_name(graph)}: export it again")
        for name, expected in manifest.files.items():
            if Path(name).name != name:
                raise BundleError(f"{folder / FILE_NAME} names the file '{name}', which is not inside the bundle")
            _verify(folder / name, expected)
        return cls(folder, manifest)

    def require_method(self, method: str) -> None:
        """Refuses a bundle of another method.

        Raises:
            BundleError: it is of another.
        """
        if self.manifest.method != method:
            raise BundleError(f"{self.path} holds a model of the method {self.manifest.method}: give one of {method}")

    def rewrite_manifest(self, manifest: Manifest) -> None:
        """Puts another manifest in the place of the one on disk, whole or not at all; the graphs stay as they are.

        Raises:
            OSError: it cannot be written.
        """
        write_atomically(self.path / FILE_NAME, manifest.to_json().encode())

    def graph_path(self, graph: str) -> Path:
        """The ONNX file of a graph, by its name in `manifest.graphs`."""
        return self.path / _file_name(graph)


def sha256_of(path: Path) -> str:
    """The hexadecimal sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _file_name(graph: str) -> str:
    return f"{graph}.onnx"


def _verify(path: Path, expected: str) -> None:
    try:
        found = sha256_of(path)
    except FileNotFoundError as error:
        raise BundleError(f"{path} is missing from the bundle: copy or export it again") from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
    if found != expected:
        raise BundleError(
            f"{path} does not match its manifest (sha256 {found[:12]}…, expected {expected[:12]}…): "
            "it was changed or copied in part; copy or export the bundle again"
        )
