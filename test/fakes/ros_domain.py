"""ROS domains for tests: no other machine sees them, and no two test runs on this machine share one."""

from __future__ import annotations

import itertools
import os
import socket

# Before rclpy starts a context.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.pop("ROS_LOCALHOST_ONLY", None)

# Domains above 101 need ports that Linux gives to any program.
_BLOCKS = 12
_DOMAINS_PER_RUN = 8  # more than the graphs that one test run has at a time

_uses = itertools.count()
_claims: list[socket.socket] = []
_first_domain: int | None = None


def domain_id() -> int:
    """Returns a domain that no other test run uses, and this one not for the next seven graphs."""
    global _first_domain
    if _first_domain is None:
        _first_domain = 1 + _DOMAINS_PER_RUN * _claimed_block()
    return _first_domain + next(_uses) % _DOMAINS_PER_RUN


def _claimed_block() -> int:
    """A block of domains that belongs to this process until it ends; with too many test runs, one that is shared."""
    wish = os.getpid() % _BLOCKS
    for offset in range(_BLOCKS):
        block = (wish + offset) % _BLOCKS
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0geoflow_ros tests, block {block} of ROS domains")
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return block
    return wish
