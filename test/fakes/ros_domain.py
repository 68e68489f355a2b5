"""ROS domains for tests: no other machine sees them, and nothing else on this machine that claims its domain."""

from __future__ import annotations

import itertools
import os

from geoflow_ros.simulation.domains import ClaimedDomain

# Before rclpy starts a context.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.pop("ROS_LOCALHOST_ONLY", None)

_DOMAINS_PER_RUN = 8  # more than the graphs that one test run has at a time

_uses = itertools.count()
_claims: list[ClaimedDomain] = []


def domain_id() -> int:
    """Returns a domain that no other test run or demo uses, and this one not for the next seven graphs."""
    use = next(_uses) % _DOMAINS_PER_RUN
    if use == len(_claims):
        _claims.append(ClaimedDomain())
    return _claims[use].id
