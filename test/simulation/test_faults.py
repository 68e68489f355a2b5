"""Faults of the demo's drive: each once, in turn, and the tile server really goes and comes back."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest
from fakes.map import write_map

from geoflow_ros.errors import InputError
from geoflow_ros.simulation.faults import Fault, Injection, drive_seconds, injection_of, schedule
from geoflow_ros.simulation.processes import Child, Children
from geoflow_ros.simulation.surroundings import Surroundings
from geoflow_ros.tiles import open_tile_source


def test_every_fault_happens_once_with_time_to_recover() -> None:
    injections = schedule()
    assert sorted(i.fault.name for i in injections) == sorted(fault.name for fault in Fault)
    for first, following in zip(injections[:-1], injections[1:], strict=True):
        assert following.start_s - first.end_s >= 10.0
    assert drive_seconds(injections) >= injections[-1].end_s + 10.0


def test_an_injection_is_read_as_it_is_written() -> None:
    for injection in schedule():
        assert injection_of(injection.text()) == injection


@pytest.mark.parametrize("text", ["", "frozen", "frozen:1", "melted:1:2", "frozen:2:1", "frozen:-1:2", "frozen:1:nan"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="fault"):
        injection_of(text)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5.0) as response:
            return bool(response.status == 200)
    except urllib.error.URLError:
        return False


def test_the_tile_server_dies_and_comes_back_at_its_address(tmp_path: Path) -> None:
    source = open_tile_source(write_map(tmp_path / "map.mbtiles"))
    try:
        with Surroundings(source) as surroundings, Children(tmp_path, {}) as children:
            child = children.start("localizer", ["sleep", "60"])
            surroundings.harm([Injection(Fault.TILES, 5.0, 9.0)], children, child, ["sleep", "60"])
            reached = []
            for t_s in (4.0, 5.0, 8.0, 9.0):
                surroundings.at(t_s)
                reached.append(answers(surroundings.tiles_url + "/"))
            assert reached == [True, False, False, True]
            assert surroundings.localizer is child
    finally:
        source.close()
    assert not answers(surroundings.tiles_url + "/")


def test_a_killed_localizer_is_started_again_and_its_death_is_no_failure(tmp_path: Path) -> None:
    source = open_tile_source(write_map(tmp_path / "map.mbtiles"))
    try:
        with Surroundings(source) as surroundings, Children(tmp_path, {}) as children:
            first: Child = children.start("localizer", ["sleep", "60"])
            surroundings.harm([Injection(Fault.KILLED, 2.0, 2.0)], children, first, ["sleep", "61"])
            surroundings.at(1.0)
            assert surroundings.localizer is first
            surroundings.at(2.0)
            children.check()
            assert not first.running
            assert surroundings.localizer.running
            assert surroundings.localizer.process.pid != first.process.pid
    finally:
        source.close()
