"""The lines by which processes tell how far they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from geoflow_ros.simulation.events import Event, EventKind, EventReader, parse_event, tell


def test_what_is_told_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    tell(EventKind.RENDERED, 12, 300)
    line = capsys.readouterr().out
    assert line == '{"event": "rendered", "done": 12, "of": 300}\n'
    assert parse_event(line) == Event(EventKind.RENDERED, 12, 300)


@pytest.mark.parametrize(
    "line",
    [
        "rendered 12/300 frames",
        '{"event": "unheard of", "done": 1, "of": 2}',
        '{"event": "driven", "done": 1}',
        '{"event": "driven", "done": null, "of": 2}',
        '{"event": "dri',
        "",
    ],
)
def test_other_lines_are_no_events(line: str) -> None:
    assert parse_event(line) is None


def test_events_of_a_growing_log_are_read_once_and_whole(tmp_path: Path) -> None:
    log = tmp_path / "vehicle.log"
    log.write_text('a warning\n{"event": "rendered", "done": 1, "of": 2}\n{"event": "ren')
    reader = EventReader(log)
    assert reader.new_events() == [Event(EventKind.RENDERED, 1, 2)]
    assert reader.new_events() == []
    with log.open("a") as file:
        file.write('dered", "done": 2, "of": 2}\n')
    assert reader.new_events() == [Event(EventKind.RENDERED, 2, 2)]
