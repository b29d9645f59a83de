"""Small checkpoints that can be told apart, for the tests of what saves and loads them."""

from __future__ import annotations

from pathlib import Path

import torch

from rig import checkpoint
from rig.checkpoint import Contents
from rig.replay.disk import write_chunk


def contents(step: int) -> Contents:
    """Told apart by its step in every file."""
    learner = {"weight": torch.full((3, 2), float(step)), "steps": torch.tensor(step)}
    return Contents({"learner": learner, "encoder": {"bias": torch.full((4,), -float(step))}}, {"step": step, "task": "reach"})


def check(loaded: checkpoint.Loaded, step: int) -> None:
    assert (loaded.step, loaded.meta) == (step, {"step": step, "task": "reach"})
    for part, tensors in contents(step).tensors.items():
        assert loaded.tensors[part].keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert torch.equal(loaded.tensors[part][name], tensor)


def chunk(run: Path, number: int) -> Path:
    path = run / "replay" / f"{number:06d}.safetensors"
    write_chunk(path, {"frame": torch.full((2, 8, 8, 3), number, dtype=torch.uint8)})
    return path


def leftovers(run: Path) -> list[str]:
    return [path.name for path in (run / "checkpoints").iterdir() if path.name.startswith(".")]
