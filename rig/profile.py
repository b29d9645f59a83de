"""Where the time of a training goes: `rig profile`."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from rig import build, files
from rig.algorithm import RIG, collect, represent
from rig.compiling import choose
from rig.config import ReuseConfig, RunConfig
from rig.errors import UserError
from rig.log import Log
from rig.nets import trains_in_bfloat16
from rig.roofline import Work, limits
from rig.run import LOG_EVERY, FiniteWatch, keep_freed_memory
from rig.tensors import fetched
from rig.types import silent


class Span(NamedTuple):
    """One piece of work, in seconds; `own` leaves out the spans inside it."""

    part: str
    start: float
    length: float
    own: float


@dataclass
class Clock:
    """Times calls by part. On CUDA it waits for the device at both ends of a span, so that work counts where it is asked for."""

    device: torch.device
    spans: list[Span] = field(default_factory=list[Span])
    _inside: list[float] = field(default_factory=lambda: [0.0])

    def watch(self, owner: object, method: str, part: str) -> None:
        """Time every call of `owner.method` as `part`, from now on."""
        setattr(owner, method, self.timed(part, getattr(owner, method)))

    def timed(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, timed as `part`."""

        def call(*args: Any, **kwargs: Any) -> Any:
            start = self._now()
            self._inside.append(0.0)
            try:
                return work(*args, **kwargs)
            finally:  # worlds may lose their episodes
                length = self._now() - start
                self.spans.append(Span(part, start, length, length - self._inside.pop()))
                self._inside[-1] += length

        return call

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


PARTS = ("act", "physics", "render", "encode", "imagine", "store", "sample", "update", "log", "other")


def profile(config: RunConfig, steps: int, trace: Path | None) -> int:
    """Train for `steps` env steps after a warm-up, print where the time went, and write a Chrome trace where asked.

    The encoder is hardly trained: how well it sees does not change how fast it is. Parts are timed one after another, also
    where the run overlaps them. No run folder is made.
    """
    keep_freed_memory()
    steps = -(-steps // config.num_envs) * config.num_envs  # of whole steps of all worlds
    with tempfile.TemporaryDirectory() as folder:
        agent = warmed_agent(config, steps)
        work = _work(agent)
        clock = Clock(agent.generator.device)
        with Log(Path(folder)) as log:
            overlapped = _overlapped(agent, log, steps)
            _watch(clock, agent, log)
            clock.timed("other", lambda: _train(agent, log, steps))()
    agent.env.close()
    print(_report(config, agent, clock, steps, work))
    if overlapped:
        print(f"with acting and learning overlapped: {overlapped:,.1f} env steps a second")
    if trace is not None:
        files.write(trace, json.dumps(_chrome(clock.spans)).encode())
        print(f"trace for chrome://tracing or ui.perfetto.dev: {trace}")
    return 0


def warmed_agent(config: RunConfig, steps: int) -> RIG:
    """A run's agent with `steps` before it: its encoder hardly trained, its random steps and an episode of updates behind it.

    Its updates are compiled where those of the run itself would be. Raises UserError for worlds without goals.
    """
    planned = config.steps
    training = getattr(config.encoder, "training", None)
    encoder = config.encoder if training is None else replace(config.encoder, training=replace(training, steps=5))
    warm = 2 * config.task.horizon * config.num_envs
    config = replace(config, encoder=encoder, random_steps=warm // 2, steps=warm + steps, reuse=ReuseConfig())
    env = build.make_env(config, config.seed, "train", config.num_envs)
    if not env.task.factors:
        env.close()
        raise UserError(f"{config.task.label} has no goals, and a profile is of training a policy to reach some; try task=push")
    representation = build.make_representation(config, env)
    generator = build.generator_of(config, "collect")
    observed = collect(env, representation.encoder, 400, 100, config.collect.hold, False, generator, silent)
    represent(*representation, observed, generator, silent)
    agent = build.make_agent(config, env, representation)
    choose(agent, build.compile_setting(config), planned)
    while agent.steps < warm:
        agent.step()
    return agent


def _train(agent: RIG, log: Log, steps: int) -> None:
    """What `train_policy` does at every step, without evaluations and checkpoints."""
    watch, end, logged = FiniteWatch(agent.generator.device), agent.steps + steps, agent.steps
    while agent.steps < end:
        metrics = agent.step()
        watch.add(agent.steps, metrics)
        if agent.steps - logged >= LOG_EVERY:
            logged = agent.steps
            log.scalars(agent.steps, {f"train/{k}": v for k, v in fetched(metrics).items()})


def _overlapped(agent: RIG, log: Log, steps: int) -> float:
    """Env steps a second as the run is set, where it overlaps acting and learning; from here on it does so no more."""
    if agent.worker is None:
        return 0.0
    started = time.perf_counter()
    _train(agent, log, steps)
    agent.worker = None
    return steps / (time.perf_counter() - started)


def _watch(clock: Clock, agent: RIG, log: Log) -> None:
    env: Any = agent.env
    renderer = getattr(env, "_renderer", None)
    if renderer is not None and not hasattr(env, "_replay"):  # Warp's worlds and other people's are stepped and filmed at once
        clock.watch(renderer, "draw", "render")
    for owner, method, part in (
        (agent.learner, "act", "act"), (env, "step", "physics"), (env, "reset", "physics"),
        (agent.encoder, "encode", "encode"), (agent, "imagine", "imagine"), (agent.replay, "begin", "store"),
        (agent.replay, "append", "store"), (agent.replay, "sample", "sample"), (agent.learner, "learn", "update"),
        (log, "scalars", "log"),
    ):  # fmt: skip
        clock.watch(owner, method, part)


def _work(agent: RIG) -> dict[str, Work]:
    """What one call of a part has to do at least: an update, the encoding of a step's frames, the drawing of its batches.

    Of the bytes, those that no way of doing it could leave out.
    """
    updates = agent.updates
    with agent.learner.as_written():
        learning, encoding = _flops(lambda: agent.learn(updates)) / updates, _flops(lambda: _encode_step(agent))
    replay, frames = agent.replay, agent.replay.observed[agent.replay.open_rows, 0]
    sample, _ = replay.sample(updates, agent.batch, agent.relabel, agent.encoder.version, agent.generator, agent.n_step)
    drawn = _size(value for value in sample if isinstance(value, Tensor))
    return {
        "update": Work(learning, _size(agent.learner.state_dict().values()) + drawn / updates),  # weights, Adam's memory, a batch
        "encode": Work(encoding, _size([frames])),
        "sample": Work(0, 2 * drawn),
    }


def _encode_step(agent: RIG) -> None:
    agent.encoder.encode(agent.replay.observed[agent.replay.open_rows, 0])


def _size(tensors: Iterable[Tensor]) -> float:
    """Bytes of them all."""
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors))


def _flops(work: Callable[[], object]) -> float:
    """Floating-point operations of the matrix products and convolutions in one call."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def _report(config: RunConfig, agent: RIG, clock: Clock, steps: int, work: dict[str, Work]) -> str:
    device = clock.device
    total = sum(span.own for span in clock.spans)
    names = f"{config.task.label}, {config.encoder.name}, {config.learner.name}"
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    lines = [
        f"{names}: {steps:,} env steps in {total:.2f} s, {steps / total:,.1f} a second, on {where}",
        f"{'part':10s}{'share':>7s}{'calls':>8s}{'ms a call':>11s}{'calls/s of it':>15s}",
    ]
    times = {"update": agent.updates}
    seconds: dict[str, float] = {}
    for part in PARTS:
        own = [span.own for span in clock.spans if span.part == part]
        if own:
            calls = len(own) * times.get(part, 1)
            seconds[part] = each = sum(own) / calls
            lines.append(f"{part:10s}{sum(own) / total:7.1%}{calls:8,}{1e3 * each:11.3f}{1 / each:15,.0f}")
    lines.append("nothing is faster than this device's peaks allow (but for memory, what its caches hold):")
    plain = limits(device)
    narrow = trains_in_bfloat16(getattr(config.learner, "precision", "float32"), device)
    for part in (part for part in work if part in seconds):
        most = limits(device, torch.bfloat16) if part == "update" and narrow else plain
        least, limit = most.least(work[part])
        peak = f"{most.flops / 1e9:,.0f} GFLOP/s" if limit == "arithmetic" else f"{most.bandwidth / 1e9:,.1f} GB/s"
        lines.append(
            f"{part}: {work[part].flops / 1e6:.3g} MFLOP and {work[part].moved / 1e6:.3g} MB a call, at least "
            f"{1e3 * least:.3g} ms by {limit} ({peak}); that is {least / seconds[part]:.1%} of what it takes"
        )
    return "\n".join(lines)


def _chrome(spans: list[Span]) -> dict[str, Any]:
    """The spans in Chrome's trace event format: complete events, microseconds."""
    first = min(span.start for span in spans)
    events = [
        {"name": s.part, "ph": "X", "pid": 0, "tid": 0, "ts": 1e6 * (s.start - first), "dur": 1e6 * s.length}
        for s in sorted(spans, key=lambda span: span.start)
    ]
    return {"traceEvents": events, "displayTimeUnit": "ms"}
