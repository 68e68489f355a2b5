"""How much memory a process takes, as the system tells it."""

from __future__ import annotations

import re
from pathlib import Path


def resident_bytes(process: int | str = "self") -> tuple[int, int] | None:
    """What a process has resident now and the most that it has had; None where the system (or the process) is no more
    or does not tell: only Linux does.

    Args:
        process: its number, or "self".
    """
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    kib = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", status, re.MULTILINE))
    return (int(kib["VmRSS"]) * 1024, int(kib["VmHWM"]) * 1024) if len(kib) == 2 else None
