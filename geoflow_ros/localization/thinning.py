"""Which fixes are news.

The errors of fixes are alike along the road: a filter that takes each as news must not have them all.
"""

from __future__ import annotations


class Thinning:
    """Picks the first fix after every so many metres of driving: of what was known when it was made, and no more."""

    def __init__(self) -> None:
        self._last_m: float | None = None

    def forget(self) -> None:
        """The next fix is news, whatever was before: the track is another one."""
        self._last_m = None

    def is_news(self, driven_m: float, spacing_m: float) -> bool:
        """Whether a fix is far enough from the last one that was news; it is the last one then.

        Args:
            driven_m: distance driven since the start of the track.
            spacing_m: how far is far enough; 0: every fix.
        """
        if self._last_m is not None and abs(driven_m - self._last_m) < spacing_m:
            return False
        self._last_m = driven_m
        return True
