"""`geoflow tiles`: what a map holds, and the map over HTTP."""

import json
import signal
import urllib.request
from pathlib import Path

import pytest
from fakes.command_line import only_line, run, start


def test_info_tells_what_a_map_holds(town_map: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tiles", "info", town_map, "--json", tmp_path / "new" / "info.json") == 0
    assert "max_zoom" in capsys.readouterr().out
    facts = json.loads((tmp_path / "new" / "info.json").read_text())
    west, south, east, north = facts["bounds"]
    assert west < facts["centre"][1] < east
    assert south < facts["centre"][0] < north


@pytest.mark.parametrize(("number", "exit_code", "said"), [("SIGINT", 0, ""), ("SIGTERM", 143, "terminated")])
def test_serve_answers_until_it_is_told_to_end(town_map: Path, number: str, exit_code: int, said: str) -> None:
    server = start("tiles", "serve", town_map, "--port", "0")
    assert server.stdout is not None
    assert server.stderr is not None
    try:
        line = server.stdout.readline()
        base = line.split(": ")[1].split("/{z}")[0]
        with urllib.request.urlopen(f"{base}/", timeout=30) as answer:
            assert json.load(answer)["tilejson"] == "3.0.0"
        server.send_signal(signal.Signals[number])
        assert server.wait(timeout=30) == exit_code
        assert server.stderr.read() == (f"geoflow tiles: {said}\n" if said else "")
    finally:
        server.kill()
        server.stdout.close()
        server.stderr.close()


def test_a_truncated_map_is_refused(town_map: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.mbtiles"
    broken.write_bytes(town_map.read_bytes()[:5000])
    assert run("tiles", "info", broken) == 2
    assert "broken.mbtiles" in only_line(capsys)
