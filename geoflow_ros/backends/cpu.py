"""What the instructions of this machine's CPU allow, read from the kernel's list of them."""

from __future__ import annotations

import os
import re
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")

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
