"""Files: replaced at one stroke, summed, and a run folder that one process owns."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rig import files
from rig.errors import UserError


def test_write_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    for data in (b"one", b"", b"three"):
        files.write(path, data)
        assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "file"
    files.write(path, b"old")

    def refuse(*_: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(UserError, match=r".*file: Disk quota exceeded .*; 3 bytes are needed and [\d,]+ are free; make room"):
        files.write(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_links_and_pipes_stay_what_they_are(tmp_path: Path) -> None:
    link, target, pipe = tmp_path / "link", tmp_path / "deep" / "target", tmp_path / "pipe"
    target.parent.mkdir()
    target.write_bytes(b"old")
    link.symlink_to(target)
    files.write(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files.write(pipe, b"sent")
    assert os.read(reader, 9) == b"sent" and pipe.is_fifo()
    os.close(reader)


def test_what_is_no_lack_of_space_is_said_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"^cannot write \S+: (Not a directory|File exists) \(\S+\)$"):
        files.write(tmp_path / "file" / "below", b"data")


def test_a_real_limit_in_the_middle_of_a_file(tmp_path: Path) -> None:
    limited = (
        "import resource, sys; from pathlib import Path; from rig import files\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (5000, {resource.RLIM_INFINITY}))\n"
        "try: files.write(Path(sys.argv[1]), bytes(20000))\n"
        "except files.UserError as error: print(error)\n"
    )
    path = tmp_path / "file"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", limited, str(path)], capture_output=True, text=True, check=True)
    assert "File too large" in done.stdout and "20,000 bytes are needed" in done.stdout
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_sha256_is_the_sum_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"", b"a", os.urandom(3_000_000)):
        files.write(path, data)
        for remembered in (False, True, True):
            assert files.sha256(path, remembered=remembered) == hashlib.sha256(data).hexdigest()


def test_a_sum_is_remembered_when_asked_and_while_the_file_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"data")
    opened: list[Path] = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *args, **kwargs: opened.append(path) or real(path, *args, **kwargs))
    first = files.sha256(path, remembered=True)
    assert files.sha256(path, remembered=True) == first and len(opened) == 1
    assert files.sha256(path) == first and len(opened) == 2
    about = path.stat()
    with path.open("r+b") as file:
        file.write(b"DATA")
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert files.sha256(path, remembered=True) != first


HOLDER = """
import sys
from pathlib import Path
from rig.files import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def hold(run: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_run_in_use_by_a_live_process_is_refused_and_a_dead_ones_is_taken_over(tmp_path: Path) -> None:
    with hold(tmp_path) as process:
        assert (tmp_path / "run.lock").read_text() == f"{process.pid}\n"
        message = f"run folder {tmp_path} is in use by process {process.pid}; wait for it, or choose another run_dir="
        with pytest.raises(UserError) as refused:
            files.Lock(tmp_path)
        assert str(refused.value) == message
        assert (tmp_path / "run.lock").read_text() == f"{process.pid}\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (tmp_path / "run.lock").read_text() == f"{process.pid}\n"  # stale, and nobody is asked about it
    with files.Lock(tmp_path):
        assert (tmp_path / "run.lock").read_text() == f"{os.getpid()}\n"


def test_a_lock_is_released_once_and_holds_within_the_process_too(tmp_path: Path) -> None:
    with files.Lock(tmp_path) as lock:
        with pytest.raises(UserError, match=f"in use by process {os.getpid()}"):
            files.Lock(tmp_path)
        lock.release()
        other = files.Lock(tmp_path)
    assert (tmp_path / "run.lock").read_text() == f"{os.getpid()}\n"  # leaving the block did not touch the other's
    other.release()
    assert (tmp_path / "run.lock").read_text() == ""
    files.Lock(tmp_path).release()


def test_a_programs_children_do_not_inherit_the_lock(tmp_path: Path) -> None:
    lock = files.Lock(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    lock.release()
    files.Lock(tmp_path).release()
    assert child.poll() is None  # it lived all the while
    child.communicate(b"\n")


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot lock run folder .*nowhere: No such file or directory"):
        files.Lock(tmp_path / "nowhere")
