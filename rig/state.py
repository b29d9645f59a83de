"""A run's whole state to a checkpoint and back: what makes resuming exact."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rig import checkpoint
from rig.algorithm import RIG
from rig.envs import WorldsError
from rig.errors import UserError
from rig.replay.disk import read_chunk, write_chunk


def representation_tensors(agent: RIG) -> dict[str, dict[str, Tensor]]:
    """Encoder, prior, latent frame and reward, each as flat tensors."""
    parts = {"encoder": agent.encoder, "goals": agent.goals, "frame": agent.frame, "reward": agent.reward}
    return {name: dict(part.state_dict()) for name, part in parts.items()}


class Saver:
    """Writes the checkpoints of one run, and puts the newest back.

    Closed episodes never change, so each is written once, to a chunk that later checkpoints share; the open ones go into the
    checkpoint itself. Only their codes change, where the encoder is refitted: those of all chunks are then written once more,
    since codes made anew would be equal to the last bit only if the same frames were encoded together.
    """

    def __init__(self, folder: Path, agent: RIG, identity: dict[str, Any], keep: int) -> None:
        self.folder, self.agent, self.identity, self.keep = folder, agent, identity, keep
        self.chunks: list[dict[str, Any]] = []
        self.codes: list[dict[str, Any]] = []  # one at most, like a chunk: newer codes of the episodes in the older chunks
        self.explored: list[dict[str, Any]] = []  # one at most: what refits see of the exploration, which never changes
        self.version = agent.replay.version  # of the codes on disk

    def save(self) -> Path:
        """Write a checkpoint of the present step. Raises UserError on a full disk; earlier checkpoints are untouched."""
        agent, replay = self.agent, self.agent.replay
        self._write_changed_codes()
        self._write_closed_episodes()
        self._write_explored()
        open_episodes = replay.episodes(max(0, replay.begun - replay.num_envs), replay.begun)
        for name in open_episodes.keys() - {"goal"}:
            written = replay.step + (name != "action")
            open_episodes[name][:, written:] = 0  # else whatever memory held: equal runs would not make equal checkpoints
        tensors = {
            **representation_tensors(agent),
            "learner": agent.learner.state_dict(),
            "replay": open_episodes,
            "env": {name: torch.from_numpy(value) for name, value in agent.env.snapshot().items()},
            "random": {"agent": agent.generator.get_state()},
        }
        if agent.exchange is not None:
            tensors["exchange"] = agent.exchange.state_dict()
        meta = {
            **self.identity,
            "steps": agent.steps,
            "refitted": agent.refitted,
            "exchange": agent.exchange.fitted if agent.exchange else 0,
            "compiled": agent.learner.compiled,
            "device": agent.generator.device.type,
            "replay": {
                "begun": replay.begun, "step": replay.step, "version": replay.version, "chunks": self.chunks, "codes": self.codes,
                "explored": self.explored,
            },
        }  # fmt: skip
        shared = [self.folder / chunk["file"] for chunk in self.chunks + self.codes + self.explored]
        return checkpoint.save(self.folder, agent.steps, checkpoint.Contents(tensors, meta), shared, self.keep)

    def _write_changed_codes(self) -> None:
        replay = self.agent.replay
        oldest = max(0, replay.begun - replay.rows)
        self.chunks, self.codes = ([piece for piece in part if piece["last"] > oldest] for part in (self.chunks, self.codes))
        if self.version != replay.version and self.chunks:
            first, last = max(oldest, self.chunks[0]["first"]), self.chunks[-1]["last"]
            file = f"replay/{self.agent.steps:09d}_codes_{replay.version}.safetensors"
            write_chunk(self.folder / file, replay.episodes(first, last, ("latent",)))
            self.codes = [{"file": file, "first": first, "last": last}]
        self.version = replay.version

    def _write_closed_episodes(self) -> None:
        replay = self.agent.replay
        oldest = max(0, replay.begun - replay.rows)
        first = max(oldest, self.chunks[-1]["last"] if self.chunks else 0)
        last = max(0, replay.begun - replay.num_envs)
        if first < last:
            file = f"replay/{self.agent.steps:09d}_{last}.safetensors"  # a step whose episodes were lost counts none
            write_chunk(self.folder / file, replay.episodes(first, last))
            self.chunks.append({"file": file, "first": first, "last": last})

    def _write_explored(self) -> None:
        explored = self.agent.online.explored if self.agent.online else None
        if explored is not None and not self.explored:
            file = "replay/explored.safetensors"
            write_chunk(self.folder / file, {"observed": explored})
            self.explored = [{"file": file}]

    def restore(self, loaded: checkpoint.Loaded) -> None:
        """Put a checkpoint back into the agent, whose representation is loaded already; training goes on as if never stopped.

        Raises UserError where it was written on another kind of device, or by worlds of another engine.
        """
        agent, replay, meta = self.agent, self.agent.replay, loaded.meta["replay"]
        here = agent.generator.device.type
        there = loaded.meta.get("device", here)
        if here != there:
            raise UserError(
                f"checkpoint {loaded.step} was written by a run on {there}, and this one would go on on {here}, "
                f"where neither its random numbers nor its worlds can; type device={there}"
            )
        load_part("learner", agent.learner, loaded)
        replay.begun, replay.step, replay.version = meta["begun"], meta["step"], meta["version"]
        self.chunks, self.codes, self.version = meta["chunks"], meta.get("codes", []), replay.version
        oldest = max(0, replay.begun - replay.rows)
        self.explored = meta.get("explored", [])
        paths = list(loaded.shared)
        if self.explored and agent.online:
            agent.online.explored = read_chunk(paths.pop())["observed"].to(replay.latent.device)
        for chunk, path in zip(self.chunks + self.codes, paths, strict=True):
            episodes = read_chunk(path)
            skip = max(0, oldest - chunk["first"])  # overwritten since, but the chunk still holds younger ones
            replay.put(chunk["first"] + skip, {name: value[skip:] for name, value in episodes.items()})
        replay.put(max(0, replay.begun - replay.num_envs), loaded.tensors["replay"])
        try:
            agent.env.restore({name: value.numpy() for name, value in loaded.tensors["env"].items()})
        except WorldsError:  # they are the right ones, and fail
            raise
        except ValueError as error:
            raise UserError(
                f"checkpoint {loaded.step} cannot go on with these worlds ({error}); "
                f"put back the config.yaml that the run was trained with"
            ) from error
        agent.generator.set_state(loaded.tensors["random"]["agent"])
        if agent.exchange is not None:
            load_part("exchange", agent.exchange, loaded)
            agent.exchange.resume(loaded.meta["exchange"])
        agent.steps, agent.refitted = loaded.meta["steps"], loaded.meta.get("refitted", 0)


def load_telling(run: Path, step: int | None = None, *, chunks: bool = True) -> checkpoint.Loaded:
    """As `checkpoint.load`, and tells of damaged checkpoints that were passed over."""
    loaded = checkpoint.load(run, step, chunks=chunks)
    for line in loaded.skipped:
        print(f"rig: {line}", file=sys.stderr)
    return loaded


def load_part(name: str, part: Any, loaded: checkpoint.Loaded) -> None:
    """Load a part of a checkpoint; one without tensors may be absent from it. Raises UserError where its tensors do not fit."""
    try:
        part.load_state_dict(loaded.tensors.get(name, {}))
    except RuntimeError as error:
        raise UserError(
            f"checkpoint {loaded.step} keeps its {name} in other sizes than the run's config.yaml says; "
            f"put back the config.yaml that the run was trained with"
        ) from error


def restore_representation(parts: dict[str, Any], loaded: checkpoint.Loaded, identity: dict[str, Any]) -> None:
    """Load encoder, goals, frame and reward (by these names in `parts`) from a checkpoint.

    Raises UserError where the checkpoint is of another encoder, latent size, task or learner than the configuration says.
    """
    for key, expected in identity.items():
        if loaded.meta.get(key) != expected:
            raise UserError(
                f"checkpoint {loaded.step} has {key} {loaded.meta.get(key)!r} but the run's config.yaml says {expected!r}; "
                f"put back the config.yaml that the run was trained with"
            )
    parts["frame"].become(loaded.tensors["frame"]["matrix"])
    parts["reward"].resize(parts["frame"].dim, parts["frame"].matrix.device)
    for name, part in parts.items():
        load_part(name, part, loaded)
