"""ROS domains that a process of this machine has for itself: two drives, or a drive and a test, stay apart."""

from __future__ import annotations

import random
import socket
from types import TracebackType

LARGEST_DOMAIN_ID = 101
"""Above it, the ports of a ROS domain overlap with those that Linux gives to any program."""


class ClaimedDomain:
    """A ROS domain that nobody else has claimed, until it is released or this process ends.

    A claim is a name of Linux's abstract sockets, which go with their process. Only those who claim are kept apart;
    where all domains are taken, one is shared.

    Attributes:
        id: for ROS_DOMAIN_ID.
    """

    def __init__(self) -> None:
        wishes = random.SystemRandom().sample(range(1, LARGEST_DOMAIN_ID + 1), LARGEST_DOMAIN_ID)
        self.id, self._claim = wishes[0], socket.socket(socket.AF_UNIX)
        for wish in wishes:
            try:
                self._claim.bind(f"\0geoflow_ros, ROS domain {wish}")
            except OSError:  # taken
                continue
            self.id = wish
            break

    def release(self) -> None:
        """Lets others have it."""
        self._claim.close()

    def __enter__(self) -> ClaimedDomain:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()
