"""Whether a learner's updates run compiled: measured on this machine once for these sizes, and remembered."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import torch

from rig import files, nets, trunk
from rig.algorithm import RIG
from rig.errors import UserError
from rig.learners import actions, values
from rig.learners.base import Learner
from rig.types import Batch

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "rig"
WORTH_MEASURING = 120.0
"""Seconds of updates that a run must have before it spends most of a minute on finding out how fast they could be."""

WARM_UP = 8
"""Updates in which every step was compiled, captured where it can be, and replayed."""


class Verdict(NamedTuple):
    """What was measured, in seconds."""

    eager: float
    """an update as it is"""
    compiled: float
    """an update compiled"""
    start: float
    """until compiled updates run, once their code is in the cache"""


def choose(agent: RIG, setting: str, steps: int) -> None:
    """Compile the learner's steps where `setting` is on, or where it is auto and that saves time until env step `steps`.

    What it measures with is undone. Raises UserError where on is asked for and nothing can be compiled here.
    """
    learner, updates = agent.learner, (steps - agent.steps) // agent.env.num_envs * agent.updates
    if setting == "off" or not learner.steps:
        return
    batches = [_batch(agent)] * agent.updates
    if setting == "on":
        _compile(learner, batches)
        return
    place = CACHE / "compiled" / f"{_key(learner, batches)}.json"
    try:
        known = Verdict(**json.loads(place.read_text()))
    except (OSError, ValueError, TypeError):
        eager = _seconds(learner, batches)
        if updates * eager > WORTH_MEASURING:
            _measure(learner, batches, eager, place)
        return
    if updates * (known.eager - known.compiled) > known.start:
        try:
            _compile(learner, batches)
        except UserError as error:
            print(error, file=sys.stderr)


def _measure(learner: Learner, batches: list[Batch], eager: float, place: Path) -> None:
    """Compile, and leave the learner so where it is faster."""
    print("trying whether compiled updates are faster here: under a minute, once for these sizes", file=sys.stderr)
    try:
        _compile(learner, batches)
    except UserError as error:
        print(error, file=sys.stderr)
        verdict = Verdict(eager, eager, 0.0)
    else:
        torch.compiler.reset()
        started = time.perf_counter()
        _compile(learner, batches)  # again, from the cache, as every later run will
        start = time.perf_counter() - started
        verdict = Verdict(eager, _seconds(learner, batches), start)
        if verdict.compiled >= eager:
            learner.compile_steps(False)
        print(f"an update takes {1e3 * eager:.1f} ms, compiled {1e3 * verdict.compiled:.1f} ms", file=sys.stderr)
    with suppress(OSError, UserError):  # only time is lost if it cannot be kept
        place.parent.mkdir(parents=True, exist_ok=True)
        files.write(place, json.dumps(verdict._asdict()).encode())


def _compile(learner: Learner, batches: list[Batch]) -> None:
    """Compile the steps and run each once, so that whatever fails fails here: UserError, and the steps are as before."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(CACHE / "inductor"))
    try:
        learner.compile_steps(True)
        with _undone(learner):
            _run(learner, batches, WARM_UP)
    except Exception as error:  # of the compiler's many
        learner.compile_steps(False)
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"updates cannot be compiled here: {reason}; type learner.compile=off") from error


@contextmanager
def _undone(learner: Learner) -> Generator[None]:
    """Whatever is done to the learner inside, it is afterwards as it was."""
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    try:
        yield
    finally:
        learner.load_state_dict(before)


def _run(learner: Learner, batches: list[Batch], updates: int) -> int:
    """At least so many updates, on made-up batches, as many a call as in training; returns how many."""
    generator = torch.Generator(batches[0].latent.device).manual_seed(0)
    calls = -(-updates // len(batches))
    for _ in range(calls):
        learner.learn(batches, generator)
    return calls * len(batches)


def _seconds(learner: Learner, batches: list[Batch]) -> float:
    """What an update takes: the best of five turns of ten or more."""
    best = float("inf")
    with _undone(learner):
        _run(learner, batches, WARM_UP)
        for _ in range(5):
            start = time.perf_counter()
            done = _run(learner, batches, 10)
            if batches[0].latent.is_cuda:
                torch.cuda.synchronize()
            best = min(best, (time.perf_counter() - start) / done)
    return best


def _batch(agent: RIG) -> Batch:
    """Made-up transitions."""
    count, device = agent.batch, agent.generator.device
    generator = torch.Generator(device).manual_seed(0)
    latent, goal, after = torch.randn((3, count, agent.frame.dim), generator=generator, device=device)
    action = torch.rand((count, agent.env.action_dim), generator=generator, device=device) * 2 - 1
    return Batch(latent, goal, action, -(after - goal).norm(dim=1), after, torch.ones(count, device=device))


def _key(learner: Learner, batches: list[Batch]) -> str:
    """What the verdict depends on."""
    batch = batches[0]
    device = torch.cuda.get_device_name() if batch.latent.is_cuda else torch.backends.cpu.get_cpu_capability()
    shapes = [tuple(value.shape) for value in learner.state_dict().values()]
    parts = (*(kind for kind in type(learner).__mro__ if issubclass(kind, Learner)), nets, values, actions, trunk)
    code = [Path(inspect.getfile(part)).read_bytes() for part in parts]  # a rewrite may be faster or slower
    facts = (type(learner).__name__, code, learner.config, shapes, tuple(batch.latent.shape), len(batches), device)
    return hashlib.sha256(repr((*facts, torch.__version__, torch.get_num_threads())).encode()).hexdigest()[:24]

