"""A recorded drive through a vehicle localizer: events in the order of their arrival, answers one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from geoflow_ros.arrays import UInt8Array
from geoflow_ros.errors import ImageError
from geoflow_ros.images import decode_image
from geoflow_ros.localization.rejection import FrameRejected, InputRejected, RejectReason
from geoflow_ros.localization.values import GnssPosition, VehicleFix
from geoflow_ros.localization.vehicle_cameras import FIRST
from geoflow_ros.localization.vehicle_localizer import VehicleLocalizer
from geoflow_ros.tracking import Heading, OdometryPose, StartPose


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """A camera image as it was recorded, decoded only when it is looked at.

    Attributes:
        stamp_ns: when it was taken.
        encoded: bytes of a JPEG, PNG or another picture that OpenCV reads.
        camera: name of the camera; the vehicle's first where empty.
    """

    stamp_ns: int
    encoded: bytes
    camera: str = FIRST

    def rgb(self) -> UInt8Array:
        """RGB uint8 (h, w, 3).

        Raises:
            ImageError: the bytes are no whole picture.
        """
        rgb = decode_image(self.encoded)
        if rgb is None:
            raise ImageError(f"the image at {self.stamp_ns} ns ({len(self.encoded)} bytes) is damaged or no picture")
        return rgb


DriveEvent = OdometryPose | Heading | GnssPosition | StartPose | CameraFrame


def replay(vehicle: VehicleLocalizer, events: Iterable[DriveEvent]) -> Iterator[VehicleFix | InputRejected]:
    """Hand a recording to a vehicle localizer.

    Args:
        vehicle: with `prepare_in_background` off, the same recording gives the same answers on every run.
        events: in the order of their arrival; read as they are needed, so that a long recording takes no memory.

    Yields:
        For every camera frame a fix or the reason of its rejection, and the rejections of other inputs.
    """
    for event in events:
        try:
            if isinstance(event, CameraFrame):
                yield _localized(vehicle, event)
            elif isinstance(event, OdometryPose):
                vehicle.add_odometry(event)
            elif isinstance(event, Heading):
                vehicle.add_heading(event.stamp_ns, event.yaw_rad, event.std_rad)
                vehicle.start_from_gnss()
            elif isinstance(event, GnssPosition):
                vehicle.add_gnss(event)
                vehicle.start_from_gnss()
            else:
                vehicle.start(event)
        except InputRejected as rejected:
            yield rejected


def _localized(vehicle: VehicleLocalizer, frame: CameraFrame) -> VehicleFix:
    try:
        rgb = frame.rgb()
    except ImageError as error:
        rejected = FrameRejected(RejectReason.IMAGE, str(error))
        vehicle.refuse(frame.stamp_ns, rejected, frame.camera)
        raise rejected from error
    return vehicle.localize(rgb, frame.stamp_ns, camera=frame.camera)
