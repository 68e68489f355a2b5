"""ROS domains: who claims one has it alone."""

from __future__ import annotations

import pytest

from geoflow_ros.simulation import domains
from geoflow_ros.simulation.domains import LARGEST_DOMAIN_ID, ClaimedDomain


def test_no_two_have_the_same_domain_until_it_is_released() -> None:
    claims = [ClaimedDomain() for _ in range(20)]
    try:
        assert len({claim.id for claim in claims}) == len(claims)
        assert all(1 <= claim.id <= LARGEST_DOMAIN_ID for claim in claims)
    finally:
        for claim in claims:
            claim.release()
    with ClaimedDomain() as first, ClaimedDomain() as second:
        assert first.id != second.id


def test_where_all_are_taken_one_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domains, "LARGEST_DOMAIN_ID", 2)  # not all of them: other tests run meanwhile
    claims = [ClaimedDomain() for _ in range(3)]
    assert all(1 <= claim.id <= 2 for claim in claims)
    for claim in claims:
        claim.release()
