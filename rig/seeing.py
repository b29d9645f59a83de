"""How a run's encoder, prior and latent frame are learnt before the policy is, and what a probe finds in them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch

from rig import build
from rig.algorithm import collect, represent
from rig.build import Representation
from rig.config import RunConfig
from rig.log import Bar
from rig.probe import linear_r2, probe
from rig.report import describe_frame
from rig.run import Signals


def learn_to_see(
    config: RunConfig, env: Any, representation: Representation, signals: Signals, observed: torch.Tensor | None = None
) -> dict[str, float]:
    """Algorithm 1, lines 1-3, with progress bars; where observations [E, T, …] are given, these instead of new ones.

    Of those given, evenly spaced episodes with about `collect.frames` frames are taken. An encoder of another run stays as it is.
    """

    def watched(bar: Bar) -> Callable[[int, int, dict[str, float]], None]:
        def report(done: int, total: int, metrics: dict[str, float]) -> None:
            signals.check()
            bar(done, total, metrics)

        return report

    generator = build.generator_of(config, "collect")
    random_reset = config.collect.reset == "random"
    unbroken = max(1, -(-config.collect.frames // config.collect.num_envs) - 1)
    length = config.collect.length or (10 if random_reset else unbroken)
    collecting, training = Bar("collecting images", "frames"), Bar("training the encoder", "steps")
    try:
        if observed is None:
            observed = collect(
                env, representation.encoder, config.collect.frames, length, config.collect.hold, random_reset, generator,
                watched(collecting),
            )  # fmt: skip
            collecting.close()
        else:
            every = max(1, observed.shape[0] * observed.shape[1] // config.collect.frames)
            observed = observed[::every].to(generator.device)
        known = bool(config.reuse.encoder)
        return represent(*representation, observed, generator, watched(training), config.skew, known=known)
    finally:
        collecting.close()
        training.close()


def probe_encoder(config: RunConfig, env: Any, representation: Representation) -> dict[str, dict[str, float]]:
    """Probe the encoder on random states, print what it and the latent frame see, and return the figures."""
    encoder, frame = representation.encoder, representation.frame
    if config.evaluation.probe_states == 0 or not env.task.factors:
        print(describe_frame(frame.spectrum, frame.weight, [], config.frame.name), file=sys.stderr)
        return {}
    state = env.random_states(config.evaluation.probe_states)
    observed = state if encoder.observes == "state" else env.show(state)
    latent = encoder.encode(torch.from_numpy(observed).to(build.device_of(config)))
    truth = torch.from_numpy(state).to(latent.device)
    probes = dict(zip(env.task.state_names, probe(latent, truth, build.generator_of(config, "probe")), strict=True))
    for (name, p), unit in zip(probes.items(), env.task.state_units, strict=True):
        line = f"  {name}: R² {p.r2:.4f}, median error {p.median_error:.4f} {unit} (linear R² {p.linear_r2:.3f})"
        print(line if name != env.task.state_names[0] else f"what the code tells of random states:\n{line}", file=sys.stderr)
    found = zip(env.task.state_names, linear_r2(frame(latent), truth), strict=True)
    print(describe_frame(frame.spectrum, frame.weight, list(found), config.frame.name), file=sys.stderr)
    return {name: p._asdict() for name, p in probes.items()}
