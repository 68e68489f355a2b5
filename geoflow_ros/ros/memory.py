"""Memory that was needed only once, for loading, goes back to the system."""

from __future__ import annotations

import ctypes
import gc


def give_back_freed_memory() -> None:
    """Hand what is freed but kept by the C library back to the system (`malloc_trim` of glibc; nothing elsewhere).

    Reading and compiling a model leaves some tens of MB behind that nothing asks for again.
    """
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):  # another C library
        pass
