"""Which instructions the CPU has, as its flags and the user's limit say; and how much of it others take."""

import os
from pathlib import Path

import pytest

from geoflow_ros.backends import cpu


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16\n\nprocessor\t: 1\nflags\t\t: fpu\n", True),
        ("flags\t\t: fpu avx512f amx_bf16 amx_tile\n", True),
        ("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n", True),
        ("flags\t\t: fpu avx2 avx512f avx512_vnni\n", False),
        ("vendor_id\t: avx512_bf16\nflags\t\t: fpu avx2\n", False),
        ("", False),
        (None, False),
    ],
)
def test_bfloat16_is_what_the_flags_say(
    text: str | None, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(cpu, "CPU_INFO", tmp_path / "cpuinfo")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert cpu.has_bfloat16() is expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("AVX2", False), ("avx512_core", False), ("AVX512_CORE_AMX", True), ("ALL", True), ("", True)],
)
def test_a_limit_on_onednns_instructions_counts(
    limit: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu avx2 avx512f avx512_bf16\n")
    monkeypatch.setattr(cpu, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert cpu.has_bfloat16() is expected


def test_the_work_of_others_is_what_is_neither_idle_nor_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat, own_s = tmp_path / "stat", [0.0]
    monkeypatch.setattr(cpu, "CPU_TIMES", stat)
    monkeypatch.setattr(cpu.os, "sysconf", lambda name: 100)
    times = os.times_result
    monkeypatch.setattr(cpu.os, "times", lambda: times((own_s[0], 0.0, 0.0, 0.0, 0.0)))
    stat.write_text("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2 3\n")
    others = cpu.WorkOfOthers()
    assert others.share() is None  # no time has passed
    stat.write_text("cpu  900 0 200 1700 100 0 0 100 0 0\n")  # 20 s passed, 10 s of work
    own_s[0] = 4.0
    assert others.share() == pytest.approx(0.3)
    stat.write_text("nothing known")
    assert others.share() is None
