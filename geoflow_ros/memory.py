"""Memory of processes: how much is resident, and what glibc's allocator keeps or gives back."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from contextlib import suppress
from pathlib import Path

# malloc.h of glibc
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_NEVER = 2**31 - 1
_TOP_PAD_BYTES = 2**28


def resident_bytes(process: int | str = "self") -> tuple[int, int] | None:
    """Returns what a process has resident now and the most that it has had.

    None where the process is no more, or the system does not tell: only Linux does.

    Args:
        process: its number, or "self".
    """
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    kib = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", status, re.MULTILINE))
    return (int(kib["VmRSS"]) * 1024, int(kib["VmHWM"]) * 1024) if len(kib) == 2 else None


def give_back_freed_memory() -> None:
    """Hand what is freed but kept by the C library back to the system (`malloc_trim` of glibc; nothing elsewhere).

    Reading and compiling a model leaves some tens of MB behind that nothing asks for again.
    """
    gc.collect()
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to reuse large blocks instead of returning each to the system.

    A step allocates and frees gigabytes of activations. By default every large block is mapped anew, and the kernel
    clears its pages on first touch: on two cores that was a third of the step's time. Where the C library is another
    one nothing is changed.

    Returns:
        Whether the allocator took the settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _TOP_PAD_BYTES))
    return all(mallopt(name, value) == 1 for name, value in settings)
