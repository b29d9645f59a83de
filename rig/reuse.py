"""What one run takes from another: its encoder as it is, or all that it lived through."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rig.config import RunConfig
from rig.config_io import load_config
from rig.encoders.base import Encoder
from rig.errors import UserError
from rig.replay.disk import read_chunk
from rig.state import load_part, load_telling

JUDGING = ("name", "threshold", "unit", "time_limit")
"""Settings of a task that say nothing of what its worlds show and do."""


class Lived(NamedTuple):
    """Whole episodes of another run, the oldest first."""

    observed: Tensor
    """u8[E, T + 1, H, W, 3], or f32[E, T + 1, S] of a run that knew the state."""
    action: Tensor
    """f32[E, T, A]."""


def take_encoder(config: RunConfig, encoder: Encoder) -> None:
    """Put the weights of `reuse.encoder`'s newest valid checkpoint into an encoder of the same settings.

    Raises UserError where there is none, or its tensors have other sizes, as those for pictures of another size have.
    """
    run = Path(config.reuse.encoder)
    other = load_config(run)
    size = other.task.size
    if encoder.observes == "state" and other.task.label != config.task.label:
        raise UserError(f"encoder.from={run} reads states of {other.task.label}, got {config.task.label}; leave it out")
    if size != config.task.size:
        raise UserError(f"encoder.from={run} sees {size}×{size} pixels, got task.size={config.task.size}; try task.size={size}")
    load_part("encoder", encoder, load_telling(run, chunks=False))


def lived(config: RunConfig, env: Any, encoder: Encoder) -> Lived:
    """The newest episodes of `reuse.replay`'s newest valid checkpoint, a multiple of num_envs and at most replay.capacity steps.

    Raises UserError where they are not of the same task, horizon, pictures and meaning of actions, or hold what the encoder does
    not read.
    """
    run = Path(config.reuse.replay)
    other = load_config(run)
    wanted = {"task": (other.task.label, config.task.label)}
    settings = [field.name for field in fields(config.task) if field.name not in JUDGING and hasattr(other.task, field.name)]
    wanted |= {f"task.{name}": (getattr(other.task, name), getattr(config.task, name)) for name in settings}
    for name, (theirs, ours) in wanted.items():
        if theirs != ours:
            raise UserError(f"replay.from={run} is of {name}={theirs}, got {name}={ours}; try {name}={theirs}")
    loaded = load_telling(run)
    meta = loaded.meta["replay"]
    chunks = [read_chunk(path) for path in loaded.shared[: len(meta["chunks"])]]
    if meta["step"] == other.task.horizon and "observed" in loaded.tensors["replay"]:
        chunks.append(loaded.tensors["replay"])  # the last episodes, just complete
    count = sum(len(chunk["action"]) for chunk in chunks)
    kept = min(count, config.replay.capacity // config.task.horizon) // config.num_envs * config.num_envs
    if kept == 0:
        raise UserError(f"replay.from={run} has {count} whole episodes, less than num_envs={config.num_envs}; give another run")
    episodes = Lived(*(torch.cat([chunk[name] for chunk in chunks])[-kept:] for name in Lived._fields))
    frames = episodes.observed.dtype == torch.uint8
    if frames != (encoder.observes == "frame"):
        holds, reads = ("frames", "states") if frames else ("states", "frames")
        hint = "encoder=beta_vae" if frames else "encoder=oracle"
        raise UserError(f"replay.from={run} holds {holds}, and encoder={config.encoder.name} reads {reads}; try {hint}")
    if episodes.action.shape[2] != env.action_dim:
        raise UserError(f"replay.from={run} has actions of {episodes.action.shape[2]} numbers, these worlds of {env.action_dim}")
    return episodes
