"""Checkpoints when the power, the disk or the process fails in the middle of a save."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rig import checkpoint, files
from rig.checkpoint import Contents
from rig.errors import UserError
from rig.replay.disk import write_chunk
from tests.checkpoints import check, chunk, contents, leftovers


class PowerCut(BaseException):
    """No cleaning up happens after it: every later call that would change the disk raises it too."""


CALLS = ("fsync", "rename", "replace", "mkdir", "symlink", "unlink", "rmdir")


def half_written(path: Path, data: bytes) -> None:
    path.write_bytes(data[: len(data) // 2])


def break_after(patch: pytest.MonkeyPatch, calls: int, error: Callable[[], BaseException], forever: bool) -> list[str]:
    """Let `calls` calls that change the disk pass and the next fail, half done where it is a write. Returns the calls made."""
    made: list[str] = []

    def broken(name: str, real: Callable[..., Any], half: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            made.append(name)
            if len(made) == calls + 1 or (forever and len(made) > calls):
                if half is not None:
                    half(*args)
                raise error()
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        patch.setattr(os, name, broken(name, getattr(os, name)))
    patch.setattr(files, "write_synced", broken("write", files.write_synced, half_written))
    return made


def two_checkpoints(run: Path) -> list[Path]:
    chunks = [chunk(run, number) for number in range(3)]
    for step in (1, 2):
        checkpoint.save(run, step, contents(step), shared=chunks[:step])
    return chunks


@pytest.mark.parametrize("step", [3, 2])
def test_a_power_cut_anywhere_in_a_save_loses_no_checkpoint(tmp_path: Path, step: int) -> None:
    """Step 3 is new; step 2 is there already (with other contents) and replaced."""
    outcomes: list[bool] = []
    for calls in range(1000):
        run = tmp_path / str(calls)
        chunks = two_checkpoints(run)
        with pytest.MonkeyPatch.context() as patch:
            made = break_after(patch, calls, PowerCut, forever=True)
            with contextlib.suppress(PowerCut):
                checkpoint.save(run, step, contents(step)._replace(meta={"new": True}), shared=chunks, keep=2)
        if len(made) == calls:
            break
        loaded = checkpoint.load(run)
        assert loaded.skipped == [] and len(loaded.tensors) == 2
        outcomes.append(loaded.meta == {"new": True})
        if not outcomes[-1]:
            check(loaded, 2)
        checkpoint.save(run, 4, contents(4), shared=chunks, keep=9)
        check(checkpoint.load(run), 4)
        assert leftovers(run) == []
    assert outcomes == sorted(outcomes) and {False, True} == set(outcomes)  # old until one moment, new from then on
    assert calls >= 15


@pytest.mark.parametrize("step", [3, 2])
def test_a_full_disk_anywhere_in_a_save_leaves_the_rest_untouched(tmp_path: Path, step: int) -> None:
    for calls in range(1000):
        run = tmp_path / str(calls)
        two_checkpoints(run)
        with pytest.MonkeyPatch.context() as patch:
            made = break_after(patch, calls, lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), forever=False)
            try:
                checkpoint.save(run, step, contents(step))
            except UserError as error:
                assert re.search(r"save checkpoint \d: No space left .*; [\d,]+ bytes are needed and [\d,]+ are free", str(error))
                assert str(error).endswith(f"make room, then type: rig resume {run}")
        if len(made) == calls:
            break
        check(checkpoint.load(run, 1), 1)
        check(checkpoint.load(run, 2), 2)
        check(checkpoint.load(run), checkpoint.steps(run)[-1])
        assert not [name for name in leftovers(run) if "staging" in name or name == ".last"]
        assert (run / "checkpoints" / "last" / "manifest.json").is_file()
    assert calls >= 10


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        checkpoint.save(disk, 1, contents(1))
        big = Contents({"learner": {"weight": torch.zeros(20_000)}, "encoder": {"weight": torch.zeros(60_000)}}, {})
        with pytest.raises(UserError, match=r"checkpoint 2: No space left .*; 320,\d+ bytes are needed and 2\d\d,\d+ are free"):
            checkpoint.save(disk, 2, big)
        with pytest.raises(UserError, match=r"No space left .* 2,400,\d+ bytes are needed and 2\d\d,\d+ are free"):
            write_chunk(disk / "replay" / "0.safetensors", {"frame": torch.zeros(600_000)})
        assert leftovers(disk) == [] and checkpoint.steps(disk) == [1] and list((disk / "replay").iterdir()) == []
        check(checkpoint.load(disk), 1)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


KILLED = """
import sys, torch
from pathlib import Path
from rig import checkpoint
from rig.replay.disk import write_chunk
run, chunks = Path(sys.argv[1]), []
for step in range(1, 10**6):
    chunks = [*chunks, run / "replay" / f"{step:06d}.safetensors"][-4:]
    write_chunk(chunks[-1], {"frame": torch.full((50_000,), step)})
    parts = {part: {"weight": torch.full((20_000,), step)} for part in "abc"}
    checkpoint.save(run, step, checkpoint.Contents(parts, {"step": step}), shared=chunks, keep=3)
    print(step, flush=True)
"""


@pytest.mark.parametrize("after", [2, 15])
def test_a_killed_process_leaves_a_valid_checkpoint(tmp_path: Path, after: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout as lines:
        seen = [int(next(lines)) for _ in range(after)][-1]
        process.send_signal(signal.SIGKILL)
        seen = max([seen, *(int(line) for line in lines if line.endswith("\n"))])
    loaded = checkpoint.load(tmp_path)
    assert loaded.step >= seen and loaded.skipped == [] and loaded.meta == {"step": loaded.step}
    for part in "abc":
        assert torch.equal(loaded.tensors[part]["weight"], torch.full((20_000,), loaded.step))
