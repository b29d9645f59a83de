"""Tiny runs of the whole program, by its command line, and what two runs must have in common to be one and the same."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rig import checkpoint
from rig.cli import main
from rig.log import read_rows
from rig.replay.disk import read_chunk

ROOT = Path(__file__).resolve().parents[2]

STEPS, EVERY, EVALUATE_EVERY, RANDOM, HORIZON = 125, 27, 40, 30, 10
"""Env steps. A checkpoint is taken in the middle of an episode, and the first one before the policy acts at all."""

TINY = (
    "device=cpu", f"task.horizon={HORIZON}", f"steps={STEPS}", f"random_steps={RANDOM}", f"checkpoint.every={EVERY}",
    "checkpoint.keep=0", f"evaluation.every={EVALUATE_EVERY}", "evaluation.episodes=2", "evaluation.final_episodes=3",
    "collect.frames=100", "collect.length=10", "collect.num_envs=4", "num_envs=1", "evaluation.probe_states=0",
    "learner.hidden=[32,32]", "learner.batch=32",
)  # fmt: skip
PIXELS = (*TINY, "task=reach", "encoder=beta_vae", "goals=gaussian", "frame=identity", "encoder.training.steps=4")
WIDE = (*PIXELS, "num_envs=2")
STATE = (*TINY, "task=push", "encoder=oracle", "frame=slow")
OVERLAPPED = (*PIXELS, "run.overlap=true", "reward=oracle", "relabel.keep=0", "relabel.imagined=0", "relabel.future=1")
WARP = (*WIDE, "engine=warp")
DRIFTING = (*STATE, "learner=ddpg", "num_envs=2")
EXCHANGED = (*STATE, "relabel.exchange=0.9")
"""Told apart three times, with the first, the second and the fourth episode of those that were complete by then."""
SB3 = (*STATE, "learner=sb3_sac", "learner.hidden=[32]")
ONLINE = (
    *TINY, "preset=skewfit", "encoder.training.steps=4", "encoder.training.batch=8", "frame.keep=3", "goals.codes=32",
    "skew.samples=2", "online.every=20", "online.steps=3", "online.frames=64", "updates_per_step=1",
    "reward=temporal", "reward.steps=9",
)  # fmt: skip
"""Its reward is learnt, its encoder is refitted six times, and its checkpoints stand before, between and behind the refits."""
KINDS = {
    "pixels": PIXELS, "two worlds": WIDE, "state": STATE, "overlapped": OVERLAPPED, "warp": WARP, "drifting": DRIFTING,
    "online": ONLINE, "exchanged": EXCHANGED, "sb3_sac": SB3,
}  # fmt: skip

PATIENCE = 300.0
"""Seconds after which something that was waited for is not coming."""


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """Its one line about bad input: nothing else came after it, and it has exit code 2."""
        last = self.err.splitlines()[-1]
        assert self.code == 2 and last.startswith("rig: ") and self.err.count("rig: ") == 1 and "Traceback" not in self.err
        return last


def rig(*arguments: str | Path) -> Said:
    """`rig …` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Said(code, out.getvalue(), err.getvalue())


def done(*arguments: str | Path) -> Said:
    """`rig …`, which must succeed."""
    said = rig(*arguments)
    assert said.code == 0, said.err
    return said


class Process:
    """`rig …` in a process of its own, for those who end it."""

    def __init__(self, log: Path, *arguments: str | Path) -> None:
        self.log = log
        command = [sys.executable, "-m", "rig", *map(str, arguments)]
        self.said = log.with_name(f"{log.name}.out")
        with log.open("w") as stream, self.said.open("w") as said:
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            self.process = subprocess.Popen(command, stdout=said, stderr=stream, env=environment)

    @property
    def err(self) -> str:
        """What it has said on stderr so far."""
        return self.log.read_text()

    @property
    def out(self) -> str:
        """What it has said on stdout so far."""
        return self.said.read_text()

    def end(self, number: int, when: Callable[[], bool]) -> int:
        """Send it a signal once `when` holds; returns its exit code. Fails where it ends before."""
        deadline = time.monotonic() + PATIENCE
        try:
            while not when():
                assert self.process.poll() is None and time.monotonic() < deadline, self.err
                time.sleep(0.002)
            self.process.send_signal(number)
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()


def newest(run: Path) -> int:
    """The step that `last` points at; -1 before there is any."""
    link = run / "checkpoints" / "last"
    return int(link.readlink().name) if link.is_symlink() else -1


def copy(run: Path, place: Path, upto: int = STEPS + 1) -> Path:
    """A copy of a run that ended with its newest checkpoint not past a step: later ones, and the results, are not there."""
    shutil.copytree(run, place, symlinks=True)
    for step in checkpoint.steps(place):
        if step > upto:
            shutil.rmtree(place / "checkpoints" / f"{step:09d}")
    link = place / "checkpoints" / "last"
    link.unlink()
    link.symlink_to(f"{checkpoint.steps(place)[-1]:09d}")
    (place / "evaluation.json").unlink()
    return place


def read(path: Path) -> Any:
    """A file of strict JSON, where NaN and infinity are no numbers."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{path}: {word} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def everything(run: Path, step: int | None = None) -> dict[str, Any]:
    """All tensors of a checkpoint by <part>/<name>, its replay chunks in one piece, the exploration, and its plain values."""
    loaded = checkpoint.load(run, step)
    assert not loaded.skipped
    found: dict[str, Any] = {"meta": loaded.meta}
    for part, tensors in loaded.tensors.items():
        found |= {f"{part}/{name}": value for name, value in tensors.items()}
    chunks = [read_chunk(path) for path in loaded.shared]
    if loaded.meta["replay"].pop("explored"):
        found["explored"] = chunks.pop()["observed"]
    listed, codes = loaded.meta["replay"].pop("chunks"), loaded.meta["replay"].pop("codes")
    assert [piece["last"] - piece["first"] for piece in listed + codes] == [len(chunk["latent"]) for chunk in chunks]
    for name in chunks[0] if chunks else ():
        found[f"chunks/{name}"] = torch.cat([chunk[name] for chunk in chunks[: len(listed)]])
    for piece, chunk in zip(codes, chunks[len(listed) :], strict=True):  # newer than those in the chunks
        first = piece["first"] - listed[0]["first"]
        found["chunks/latent"][first : first + len(chunk["latent"])] = chunk["latent"]
    return found


def numbers(run: Path) -> list[dict[str, Any]]:
    """The rows of progress.csv without what the clock said."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in read_rows(run / "progress.csv")]


def assert_same(run: Path, reference: Path) -> None:
    """The final checkpoint of two runs, every number on the way and the evaluation at the end are equal to the last bit."""
    assert differences(everything(run), everything(reference)) == []
    assert numbers(run) == numbers(reference)
    # Where a run was interrupted its replay lies in other pieces, so that only the checkpoint's sum may differ.
    ours, theirs = ({**read(folder / "evaluation.json"), "checkpoint_sha256": ""} for folder in (run, reference))
    assert ours == theirs


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Names of what is not the same in two answers of `everything`."""
    return [name for name in {**ours, **theirs} if not equal(ours.get(name), theirs.get(name))]


def equal(a: Any, b: Any) -> bool:
    """Bit for bit, dtype and shape included, where they are tensors."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    return a == b
