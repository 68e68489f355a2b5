"""What exists is named where a user looks, and what the pages name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from geoflow_ros.backends import BACKENDS

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
ALL_PAGES = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
MAX_README_LINES = 150


def text_of_pages() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)
def test_links_to_files_of_the_repository_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("pattern", ["launch/*.py", "config/*.yaml", "examples/*.py"])
def test_files_that_a_user_runs_or_edits_are_named(pattern: str) -> None:
    text = text_of_pages()
    assert [path.name for path in sorted(ROOT.glob(pattern)) if path.name not in text] == []


def test_every_back_end_is_named() -> None:
    text = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
    assert [name for name in BACKENDS if f"`{name}`" not in text] == []


def test_extras_and_the_setting_for_recorded_time_are_named() -> None:
    text = text_of_pages()
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    extras = re.findall(r'^        "(\w+)": [A-Z]', setup, re.MULTILINE)
    assert extras
    public = set(extras) - {"test", "docs"}
    assert [name for name in sorted(public) if f"[{name}]" not in text] == []
    assert "use_sim_time" in text
