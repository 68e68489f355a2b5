"""Temporary folders that are gone after their use, however this process ends."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "geoflow-bench-"

# Reads until the pipe's other end is closed, which the kernel does when this process ends. A process that still writes
# into the folder ends with this one, but not in the same moment: so the removal is tried again.
_REMOVE_AT_END = 'cat > /dev/null; for _ in 1 2 3 4 5; do rm -rf -- "$1"; sleep 0.2; done'


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yields a new folder, which is removed after the block, or when this process is killed inside it.

    A shell waits for the latter. It sleeps meanwhile, so that nothing that is measured is slower for it.
    """
    folder = tempfile.mkdtemp(prefix=_PREFIX)
    # a session of its own: a signal to this process's group must not end the shell before its work is done
    guard = subprocess.Popen(
        ["/bin/sh", "-c", _REMOVE_AT_END, "sh", folder], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        guard.kill()
        guard.communicate()
