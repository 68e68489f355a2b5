"""Files that are written whole or not at all, also where several processes write them at once."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_log = logging.getLogger("geoflow_ros")


def write_atomically(path: Path, content: bytes) -> None:
    """A reader finds the old file or the new one, never a part, also after a power cut. Missing folders are made.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # a temporary file is its owner's alone
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def replace_folder(new: Path, target: Path) -> None:
    """Renames a finished folder into place: a reader finds the old one or the new one, or for a moment nothing.

    Args:
        new: a temporary folder beside `target`.
        target: may hold an older one, which is put back if the last step fails, and is never deleted before.

    Raises:
        OSError: it cannot be renamed.
    """
    new.chmod(0o755)  # a temporary folder is its owner's alone
    if not target.exists():
        os.replace(new, target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent)) / target.name
    try:
        os.replace(target, old)
        os.replace(new, target)
    except BaseException:  # an interruption is no reason to lose both
        if old.exists() and not target.exists():
            os.replace(old, target)
        old.parent.rmdir()
        raise
    shutil.rmtree(old.parent, ignore_errors=True)


def keep(path: Path, content: bytes) -> None:
    """Writes a file of the user's cache; one that cannot be written is no more than a note in the log."""
    try:
        write_atomically(path, content)
    except OSError as error:
        _log.info("%s cannot be written (%s): the next start takes longer", path, error.strerror)


@contextmanager
def locked(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Keeps files that belong together (an engine and its record) together, without a lock file to leave behind.

    A file system that knows no locks is not an error: what is read is checked anyway.

    Raises:
        OSError: no such folder.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
