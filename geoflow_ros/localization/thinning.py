"""Which fixes are news.

The errors of fixes are alike along the road: a filter that takes each as news must not have them all.
"""

from __future__ import annotations

import math

from geoflow_ros.tracking import OdometryPose


class Thinning:
    """Picks the first fix so many metres away from the last that was picked: of what was known when it was made.

    The distance is that between two places, not the way between them: odometry that trembles at rest drives for ever
    and comes nowhere, and a vehicle that stands sees the same street again.
    """

    def __init__(self) -> None:
        self._last: OdometryPose | None = None

    def forget(self) -> None:
        """The next fix is news, whatever was before: the track is another one."""
        self._last = None

    def is_news(self, here: OdometryPose, spacing_m: float) -> bool:
        """Whether a fix is far enough from the last one that was news; it is the last one then.

        Args:
            here: where the odometry stood at the fix; in the frame of the last one, unless that is forgotten.
            spacing_m: how far is far enough; 0: every fix.
        """
        last = self._last
        if last is not None and math.hypot(here.x_m - last.x_m, here.y_m - last.y_m) < spacing_m:
            return False
        self._last = here
        return True
