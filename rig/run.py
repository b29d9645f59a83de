"""The outer loop: the algorithm, and around it evaluation, logging, checkpoints, progress bars and signals."""

from __future__ import annotations

import ctypes
import json
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rig import files
from rig.algorithm import RIG
from rig.errors import UserError
from rig.log import Bar, Log, flat
from rig.state import Saver
from rig.tensors import fetched

LOG_EVERY = 250
"""Env steps between points of the training curves; one transfer from the device each."""


class Schedule(NamedTuple):
    """When things happen, in env steps."""

    steps: int
    checkpoint_every: int
    evaluate_every: int
    """0: never on the way."""


class StopError(Exception):
    """A signal asked the run to stop before there was anything to save."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Signals:
    """While entered, SIGINT and SIGTERM set `code` to 130 or 143, and call `also`, instead of killing; a second one kills.

    Outside the main thread, which alone may trap signals, they do what they did.
    """

    def __init__(self, also: Callable[[], object] = lambda: None) -> None:
        self.code = 0
        self._also = also
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        trapped = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        for number in trapped:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.code = 128 + number
        signal.signal(number, self._before[number])
        self._also()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise StopError where a signal has come."""
        if self.code:
            raise StopError(self.code)


def keep_freed_memory() -> None:
    """Tell glibc's malloc to keep large blocks: giving each back to the kernel costs a TD3 update an eighth in page faults."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # another C library; only speed is lost
    mallopt(-3, 1 << 28)  # M_MMAP_THRESHOLD
    mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD


class FiniteWatch:
    """Remembers, on the device, the first step at which a loss was not finite: `first`, f64, infinite where there was none."""

    def __init__(self, device: torch.device) -> None:
        self.first = torch.full((), torch.inf, dtype=torch.float64, device=device)

    def add(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Look at one step's losses."""
        if losses:
            fine = torch.stack(list(losses.values())).isfinite().all()
            self.first = torch.minimum(self.first, torch.where(fine, torch.inf, float(step)))


def train_policy(
    folder: Path,
    agent: RIG,
    schedule: Schedule,
    saver: Saver,
    evaluate: Callable[[], dict[str, Any]],
    log: Log,
    signals: Signals,
) -> int:
    """Step the agent to `schedule.steps`, saving and evaluating on the way; returns 0, or 130 or 143 after a signal.

    Raises UserError where a loss is not finite (with a diagnosis saved) or the disk is full.
    """
    watch, bar = FiniteWatch(agent.generator.device), Bar("training the policy", "steps")
    bar.start(agent.steps, schedule.steps)
    metrics: dict[str, Tensor] = {}
    shown: dict[str, float | str] = {}
    try:
        if agent.steps == 0:
            saver.save()  # what the encoder's training took is safe from here on
            if signals.code:
                bar.note(f"stopped before the first step, and saved; go on with: rig resume {folder}")
                return signals.code
            shown |= _evaluated(agent, evaluate, log)
        while agent.steps < schedule.steps:
            before = agent.steps
            try:
                step_metrics = agent.step()
            except ValueError:
                _checked(folder, agent, watch, metrics)  # the worlds take no action that is not a number
                raise
            watch.add(agent.steps, step_metrics)
            metrics |= step_metrics
            if agent.replay.step == agent.replay.horizon and not agent.offline:
                returns = agent.last_return()
                metrics |= {} if returns is None else {"return": returns.mean()}
            due = agent.steps >= schedule.steps
            saving = due or _crossed(before, agent.steps, schedule.checkpoint_every)
            evaluating = due or _crossed(before, agent.steps, schedule.evaluate_every)
            if saving or evaluating or _crossed(before, agent.steps, LOG_EVERY):
                numbers = _checked(folder, agent, watch, metrics)
                log.scalars(agent.steps, {f"train/{k}": v for k, v in numbers.items()})
                shown |= {k: v for k, v in numbers.items() if k == "return"}
            if evaluating:
                shown |= _evaluated(agent, evaluate, log)
            bar(agent.steps, schedule.steps, shown)
            stopped = signals.code  # asked once: a signal may come while it is saved
            if saving or stopped:
                _checked(folder, agent, watch, metrics)  # a signal comes at any step
                log.flush()
                saver.save()
            if stopped:
                bar.note(f"stopped at step {agent.steps} and saved; go on with: rig resume {folder}")
                return stopped
    finally:
        bar.close()
    return 0


def _crossed(before: int, after: int, every: int) -> bool:
    return every > 0 and before // every != after // every


def _evaluated(agent: RIG, evaluate: Callable[[], dict[str, Any]], log: Log) -> dict[str, float | str]:
    summary = evaluate()
    log.row(agent.steps, flat(summary))
    return {
        name: f"{factor['final_distance_mean']:.3f} {factor['unit']}" for name, factor in summary["factors"].items()
    }


def _checked(folder: Path, agent: RIG, watch: FiniteWatch, metrics: Mapping[str, Tensor]) -> dict[str, float]:
    """The metrics as numbers, in one transfer with the question whether losses and weights are finite: else raises UserError."""
    finite = {f"finite {name}": p.isfinite().all() for name, p in agent.learner.named_parameters()}
    found = fetched({"first bad step": watch.first, **finite, **metrics})
    numbers = {name: found[name] for name in metrics}
    broken = [name.removeprefix("finite ") for name in finite if not found[name]]
    first = found["first bad step"]
    if first == float("inf") and not broken:
        return numbers
    step = agent.steps if first == float("inf") else int(first)  # finite losses with gradients that are not: the last update's
    diagnosis = {
        "first_bad_step": step,
        "noticed_at_step": agent.steps,
        "metrics": {k: repr(v) for k, v in numbers.items()},
        "weights_not_finite": broken,
        "largest_code": repr(agent.replay.largest_code()),
        "reward_weights": agent.frame.weight.tolist(),
    }
    files.write(folder / "diagnosis.json", json.dumps(diagnosis, indent=1).encode())
    raise UserError(
        f"a loss was not finite from env step {step} on; see {folder / 'diagnosis.json'}; earlier checkpoints are untouched; "
        f"try learner.learning_rate=3e-4"
    )
