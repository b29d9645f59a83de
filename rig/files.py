"""Files that survive a crash, a full disk and a second process. Standard library only."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import final

from rig.errors import UserError

_BLOCK = 1 << 20  # bytes read at a time, so that a sum needs no more memory than this

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, the user's quota, the limit on one file

_sums: dict[tuple[int, int, int, int], str] = {}


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it. A crash on the way leaves a part of it; see `write` where that matters."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def made(folder: Path) -> None:
    """Make a folder for runs, and those above it. Raises UserError where that cannot be, or TensorBoard could not write to it."""
    try:
        str(folder).encode()
        folder.mkdir(parents=True, exist_ok=True)
    except UnicodeEncodeError as error:
        raise UserError(f"run_dir={str(folder)!r} is not UTF-8; choose another run_dir=") from error
    except OSError as error:
        raise UserError(f"cannot make run folder {folder}: {error.strerror}; choose another run_dir=") from error


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder (what was created, renamed or deleted there)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: Path, data: bytes) -> None:
    """Create or replace a file at one stroke: whoever looks, and whatever crashes, finds the old file or the new, on disk.
    Its folder is made where there is none. What a link leads to is replaced, not the link; a device or a pipe is written to.

    Raises:
        UserError: the disk is full, or it cannot be written to; the old file is untouched and nothing else is left.
    """
    with explained(f"write {path}", path.parent, len(data)):
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        if path.is_symlink():
            path = path.resolve()
        beside = path.with_name(f".{path.name}.tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_synced(beside, data)
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextmanager
def explained(action: str, folder: Path, needed: int, hint: str = "make room") -> Generator[None]:
    """Turn what the operating system refuses inside into a line for the user.

    Args:
        action: what was tried, as in "cannot <action>".
        folder: where; its free bytes are counted after whatever was inside has cleaned up.
        needed: bytes that the action writes.
        hint: what to do about a lack of space.

    Raises:
        UserError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        refusal = f"cannot {action}: {error.strerror or error} ({error.filename or folder})"
        if error.errno not in _FULL:
            raise UserError(refusal) from error
        raise UserError(f"{refusal}; {needed:,} bytes are needed and {_free(folder):,} are free; {hint}") from error


def sha256(path: Path, *, remembered: bool = False) -> str:
    """The SHA-256 of a file in hexadecimal.

    Args:
        path: the file.
        remembered: a file that this process has summed before, and whose inode, size and time of change are still the same, is
            not read again. For files that nobody changes once they are written; never for a check against damage.
    """
    about = path.stat()
    key = (about.st_dev, about.st_ino, about.st_size, about.st_ctime_ns)
    if not (remembered and key in _sums):
        total = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                total.update(block)
        _sums[key] = total.hexdigest()
    return _sums[key]


@final
class Lock:
    """RUN/run.lock: one process at a time works in a run folder.

    The kernel holds the lock for this process until `release` or the process' end, however it ends, so a lock is never stale;
    the file stays, and holds the owner's process id for people to read.

    Raises:
        UserError: another process holds it, or the folder cannot be written to.
    """

    def __init__(self, run: Path) -> None:
        path = run / "run.lock"
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UserError(f"cannot lock run folder {run}: {error.strerror} ({path})") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(self._descriptor, 20, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            if not isinstance(error, BlockingIOError):
                raise UserError(f"cannot lock run folder {run}: {error.strerror} ({path})") from error
            process = f"process {owner}" if owner else "another process"
            raise UserError(f"run folder {run} is in use by {process}; wait for it, or choose another run_dir=") from error
        pid = f"{os.getpid()}\n".encode()
        with explained(f"lock run folder {run}", run, len(pid)):
            try:
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, pid, 0)
            except OSError:
                os.close(self._descriptor)
                raise

    def release(self) -> None:
        """Let others have the folder. May be called twice."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            # Said outright: a child between fork and exec still has the descriptor, and closing ours would not free the lock.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def _free(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
