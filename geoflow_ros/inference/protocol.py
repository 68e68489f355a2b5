"""What finds a camera on a satellite patch: one protocol, so that methods can take each other's place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from geoflow_ros.arrays import BoolArray, UInt8Array
from geoflow_ros.bundle.manifest import Manifest
from geoflow_ros.inference.camera_calibration import CameraUncertainty
from geoflow_ros.inference.fix import Fix
from geoflow_ros.tiles import SatellitePatch


@dataclass(frozen=True)
class SearchSettings:
    """How thoroughly a patch is searched; None takes the bundle's default. A method uses what it has a use for.

    Attributes:
        hypotheses: N, how many start positions are refined.
        iterations: R, how often each is refined.
        step: fraction of the predicted displacement per refinement.
        max_heading_error_rad: headings are searched up to this far from the assumed one, where they are not known.
        camera: how well the camera's pose above the ground is known; exactly where None. Not changed while running.
        camera_file: where what is learned of that pose is kept; nowhere where None.
    """

    hypotheses: int | None = None
    iterations: int | None = None
    step: float | None = None
    max_heading_error_rad: float | None = None
    camera: CameraUncertainty | None = None
    camera_file: Path | None = None


class PatchLocalizer(Protocol):
    """Finds the camera on a satellite patch. One call of `localize` at a time; `prepare` may run beside it."""

    @property
    def manifest(self) -> Manifest:
        """The model's description; `manifest.patch_frame` gives the patch to cut."""
        ...

    @property
    def description(self) -> str:
        """What runs where, in a few words for logs and diagnostics."""
        ...

    @property
    def facts(self) -> Mapping[str, str]:
        """What diagnostics say of it, as keys and values."""
        ...

    @property
    def max_heading_error_rad(self) -> float:
        """The largest error of a patch's yaw that `localize` searches; 0 where the method takes the yaw as known."""
        ...

    def configure(self, search: SearchSettings) -> None:
        """Take other search settings from the next frame on.

        Raises:
            InputError: settings that this method or its back end cannot run.
        """
        ...

    def beside(self, name: str) -> PatchLocalizer:
        """Returns the same for another camera: it shares what runs the model, and nothing that was learned.

        Args:
            name: of the camera, for what is kept of it in files.
        """
        ...

    def forget(self) -> None:
        """Forget what earlier images told of the camera: the next one is another vehicle's."""
        ...

    def warm_up(self) -> None:
        """Do now what would make the first frame late."""
        ...

    def prepare(self, patch: SatellitePatch) -> None:
        """Encode a patch ahead of its first frame; may be called from another thread while `localize` runs.

        Raises:
            InputError: the patch does not fit the model.
            BackendError: the back end failed.
        """
        ...

    def localize(
        self,
        ground: UInt8Array,
        patch: SatellitePatch,
        stamp_ns: int = 0,
        heading_error_rad: float | None = None,
        position_error_m: float | None = None,
        covered: BoolArray | None = None,
    ) -> Fix:
        """Position, and yaw where the method gives one, of the camera that took a picture.

        Args:
            ground: RGB uint8 (h, w, 3) with the aspect ratio of the model's camera.
            patch: RGB uint8 (P, P, 3) in the frame of `manifest.patch_frame`, around where the camera is thought to be.
            stamp_ns: of the image.
            heading_error_rad: by how much the patch's yaw may be wrong, three standard deviations or a bound; None for
                what the model was trained for. A method that takes the yaw as known has no use for it.
            position_error_m: how far the camera may be from the patch's centre, forward and to the right; the model's
                search radius where None.
            covered: (H, W) bool at the size of the model's camera, which pixels of the image show anything; all where
                None. A method whose network looks at the whole image has no use for it.

        Raises:
            ImageError: the image does not fit the model.
            InputError: the patch does not, the heading error is larger than `max_heading_error_rad`, or the position
                error is not positive or larger than the model's search radius.
            BundleError: the network answered with numbers that are not finite.
            BackendError: the back end failed.
        """
        ...
