"""This machine's CPU: what its instructions allow, and how much of it other processes take, as the kernel says."""

from __future__ import annotations

import os
import re
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
CPU_TIMES = Path("/proc/stat")

_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # x86-64: the first two; the last is Arm's
_ISA_LIMIT = "ONEDNN_MAX_CPU_ISA"
_ISAS_WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")


def has_bfloat16() -> bool:
    """Returns whether bfloat16 products have instructions here; without, libraries emulate them or refuse.

    The limit that users set on oneDNN's instructions counts as well: oneDNN is what torch multiplies with.
    """
    if os.environ.get(_ISA_LIMIT, "").upper() in _ISAS_WITHOUT_BFLOAT16:
        return False
    return bool(_BFLOAT16_FLAGS & cpu_flags())


def cpu_flags() -> frozenset[str]:
    """The first core's instruction sets, as the kernel names them; empty where it names none."""
    try:
        text = CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return frozenset(line[1].split()) if line else frozenset()


class WorkOfOthers:
    """Measures, from when it is made, which share of the machine's processor time goes to other processes."""

    def __init__(self) -> None:
        self._begin = _processor_times_s()

    def share(self) -> float | None:
        """The share so far, 0 to 1; that of this process and of children that have ended is not in it.

        None where the kernel does not say it.
        """
        now = _processor_times_s()
        if now is None or self._begin is None:
            return None
        passed_s, worked_s, own_s = (end - begin for begin, end in zip(self._begin, now, strict=True))
        return min(max((worked_s - own_s) / passed_s, 0.0), 1.0) if passed_s > 0.0 else None


def _processor_times_s() -> tuple[float, float, float] | None:
    """Seconds of all processors since the start: passed, not idle, and those of this process and its children."""
    try:
        first = CPU_TIMES.read_text(encoding="ascii").splitlines()[0].split()
        ticks = [int(word) for word in first[1:9]]  # user, nice, system, idle, iowait, irq, softirq, steal
        per_s = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
    if len(ticks) < 5:
        return None
    own = os.times()
    own_s = own.user + own.system + own.children_user + own.children_system
    return sum(ticks) / per_s, (sum(ticks) - ticks[3] - ticks[4]) / per_s, own_s
