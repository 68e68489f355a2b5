"""The cameras of one vehicle: each has pictures, patches and a belief of how it stands of its own; one track has all.

The first is the vehicle's camera, which settings describe, and has no name. Others are added with a name and a mounting
of their own. All are looked at by one thread, in the order of their stamps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from geoflow_ros.errors import GeometryError, InputError, TileError
from geoflow_ros.geo.camera import Intrinsics, Mounting
from geoflow_ros.inference import PatchLocalizer
from geoflow_ros.localization.camera_pictures import CameraPictures
from geoflow_ros.localization.frame_checks import check_on_map, check_stamp
from geoflow_ros.localization.input_stamps import CAMERA, InputStamps
from geoflow_ros.localization.patch_manager import PatchManager, Prior
from geoflow_ros.localization.rejection import FrameRejected, RejectReason, frame_rejected_for
from geoflow_ros.localization.values import VehicleSettings
from geoflow_ros.stamps import NANOSECONDS_PER_SECOND
from geoflow_ros.tiles import SatelliteMap, SatellitePatch
from geoflow_ros.tracking import TrackStatus

FIRST = ""
"""The name of the camera that the vehicle's settings describe."""

_SILENCE_S = 1.0
"""A camera has stopped where its newest picture is this far behind the odometry."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True)
class OtherCamera:
    """A camera beside the vehicle's first.

    Attributes:
        name: letters, digits and underscores, as in a ROS name.
        mounting: on the vehicle.
        intrinsics: of its lens; None takes it for the model's.

    Raises:
        InputError: a name that is none.
    """

    name: str
    mounting: Mounting
    intrinsics: Intrinsics | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(f"a camera cannot be called '{self.name}': give a letter, then letters, digits or _")


@dataclass(eq=False)
class VehicleCamera:
    """One of them.

    Attributes:
        name: `FIRST`, or what it was added with.
        localizer: finds this camera on a patch, and believes something about how it stands.
        pictures: takes its lens.
        patches: around this camera, turned to where it looks.
        mounting: of its own; None where the vehicle's settings say it.
        looked_for_ns: stamp of the newest picture that was looked for on the map.
        newest_ns: stamp of the newest picture of all.
    """

    name: str
    localizer: PatchLocalizer
    pictures: CameraPictures
    patches: PatchManager
    mounting: Mounting | None = None
    looked_for_ns: int | None = None
    newest_ns: int | None = None

    @property
    def input_name(self) -> str:
        """The input's name in diagnostics: "camera" for the first, "camera_rear" for the one called rear."""
        return f"{CAMERA}_{self.name}" if self.name else CAMERA

    def settings(self, vehicle: VehicleSettings) -> VehicleSettings:
        """Returns the vehicle's settings as this camera has them: with its own mounting."""
        return vehicle if self.mounting is None else vehicle.mounted(self.mounting)

    def patch_around(self, prior: Prior, satellite_map: SatelliteMap) -> SatellitePatch:
        """Returns the patch to look for it on.

        Raises:
            FrameRejected: it is not on the map, or no patch can be cut there.
        """
        check_on_map(prior, satellite_map)
        with frame_rejected_for(RejectReason.MAP, GeometryError), frame_rejected_for(RejectReason.TILES, TileError):
            return self.patches.patch_for(prior)


class VehicleCameras:
    """The cameras of one vehicle, by name.

    Args:
        localizer: of the first; others get one beside it, which shares what runs the model.
        satellite_map: where patches are cut from.
        settings: of the vehicle: how long a patch is kept.
        executor: where patches are made ahead; each camera has a thread of its own where None.
        stamps: counts what is odd about the stamps of each.
    """

    def __init__(
        self,
        localizer: PatchLocalizer,
        satellite_map: SatelliteMap,
        settings: VehicleSettings,
        executor: Executor | None,
        stamps: InputStamps,
    ) -> None:
        self._map, self._settings, self._executor, self._stamps = satellite_map, settings, executor, stamps
        self.first = VehicleCamera(FIRST, localizer, CameraPictures(localizer.manifest), self._patches(localizer))
        self._cameras = {FIRST: self.first}

    def __iter__(self) -> Iterator[VehicleCamera]:
        return iter(self._cameras.values())

    def add(self, other: OtherCamera) -> VehicleCamera:
        """Adds a camera, before the first picture comes.

        Raises:
            InputError: there is one of that name.
        """
        if other.name in self._cameras:
            raise InputError(f"there are two cameras called '{other.name}': give each a name of its own")
        localizer = self.first.localizer.beside(other.name)
        pictures = self.first.pictures.beside()
        pictures.calibrate(other.intrinsics)
        camera = VehicleCamera(other.name, localizer, pictures, self._patches(localizer), other.mounting)
        self._stamps.add(camera.input_name)
        self._cameras[other.name] = camera
        return camera

    def named(self, name: str) -> VehicleCamera:
        """Returns the camera of a name.

        Raises:
            InputError: there is none.
        """
        camera = self._cameras.get(name)
        if camera is None:
            known = ", ".join(filter(None, self._cameras)) or "the first alone"
            raise InputError(f"there is no camera called '{name}': there is {known}")
        return camera

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest picture of any; None before the first."""
        return max((camera.newest_ns for camera in self if camera.newest_ns is not None), default=None)

    def check_stamp(self, camera: VehicleCamera, stamp_ns: int) -> None:
        """Passes pictures that are news of their camera, and not older than what another one showed.

        Raises:
            FrameRejected: it is not.
        """
        check_stamp(self._stamps.look(camera.input_name, stamp_ns), stamp_ns, camera.looked_for_ns)
        others_ns = max((other.looked_for_ns or 0 for other in self if other is not camera), default=0)
        if stamp_ns < others_ns:
            behind_s = (others_ns - stamp_ns) / NANOSECONDS_PER_SECOND
            raise FrameRejected(
                RejectReason.ORDER,
                f"the image's stamp is {behind_s:.3f} s behind another camera's: dropped, as the track has moved on",
            )

    def follow(self, settings: VehicleSettings) -> None:
        """Takes other settings: how long patches are kept."""
        self._settings = settings
        for camera in self:
            camera.patches.range_m, camera.patches.range_rad = settings.patch_range_m, settings.patch_range_rad

    def forget(self) -> None:
        """Forgets stamps and places: the odometry began anew."""
        for camera in self:
            camera.looked_for_ns = camera.newest_ns = None
            camera.pictures.forget_place()

    def close(self) -> None:
        """Ends the background work; close the map first."""
        for camera in self:
            camera.patches.close()

    def named_in(self, status: TrackStatus, odometry_ns: int | None) -> TrackStatus:
        """Returns a status that names the cameras that stopped, where others go on.

        Args:
            status: of the track.
            odometry_ns: stamp of the newest odometry; None before the first.
        """
        said = "; ".join(filter(None, self._silences(odometry_ns).values()))
        if not said or self.newest_ns is None:
            return status
        return replace(status, reason="; ".join(filter(None, [status.reason, said])), fault=status.fault or CAMERA)

    def facts(self, odometry_ns: int | None) -> dict[str, str]:
        """What is known of each, as keys and values for diagnostics; those of others begin with their input's name."""
        facts = {**self.first.localizer.facts, **self.first.pictures.facts, **self.first.patches.facts}
        silences = self._silences(odometry_ns)
        for camera in self:
            if camera.name in silences:
                facts[camera.input_name] = silences[camera.name] or "pictures come"
            if camera is not self.first:
                facts.update(self._facts_of(camera))
        return facts

    def _facts_of(self, camera: VehicleCamera) -> Mapping[str, str]:
        shared = self.first.localizer.facts  # the engine is the same
        own = {key: value for key, value in camera.localizer.facts.items() if shared.get(key) != value}
        facts = {**own, **camera.pictures.facts, **camera.patches.facts}
        return {f"{camera.input_name}_{key.removeprefix('camera_')}": value for key, value in facts.items()}

    def _silences(self, odometry_ns: int | None) -> dict[str, str]:
        """What is said of each camera that stopped, by name, empty for those that go on; nothing of a single one."""
        if len(self._cameras) == 1 or odometry_ns is None:
            return {}
        return {camera.name: _silence(camera, odometry_ns) for camera in self}

    def _patches(self, localizer: PatchLocalizer) -> PatchManager:
        settings = self._settings
        ranges = settings.patch_range_m, settings.patch_range_rad
        return PatchManager(self._map, localizer.manifest, localizer.prepare, *ranges, self._executor)


def _silence(camera: VehicleCamera, odometry_ns: int) -> str:
    called = f"camera '{camera.name}'" if camera.name else "first camera"
    if camera.newest_ns is None:
        return f"no image of the {called} yet"
    behind_s = (odometry_ns - camera.newest_ns) / NANOSECONDS_PER_SECOND
    return f"no image of the {called} for {behind_s:.1f} s" if behind_s > _SILENCE_S else ""
