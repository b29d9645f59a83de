"""How a run's encoder, prior and latent frame are learnt before the policy is, and what is measured of them."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor

from rig import build
from rig.algorithm import Represented, collect, represent
from rig.build import Representation
from rig.config import RunConfig
from rig.diagnose import distance_agreement, drawn, moving_pixels, two_sample_gap
from rig.encoders.base import in_chunks
from rig.goals.frame import widest_gap
from rig.log import Bar
from rig.probe import linear_r2, probe
from rig.report import describe_code, describe_frame
from rig.run import Signals
from rig.types import Report

PICTURES = 1000
"""Most pictures that are decoded to be measured."""


def learn_to_see(
    config: RunConfig, env: Any, representation: Representation, signals: Signals, observed: Tensor | None = None
) -> tuple[dict[str, Any], Tensor]:
    """Algorithm 1, lines 1-3, with progress bars, then what can be measured of it: all that encoder.json holds.

    Returns that, and the observations [E, T, …] that it was learnt from. Such as are given take the place of exploration:
    evenly spaced episodes of them, about `collect.frames` frames. An encoder of another run stays as it is.
    """
    seen = "images" if representation.encoder.observes == "frame" else "states"
    bars = (Bar(f"collecting {seen}", "frames"), Bar("training the encoder", "steps"), Bar("fitting the prior", "steps"))
    collecting, training, fitting = bars

    def watched(bar: Bar) -> Report:
        def report(done: int, total: int, metrics: dict[str, float]) -> None:
            signals.check()
            for earlier in bars[: bars.index(bar)]:
                earlier.close()
            bar(done, total, metrics)

        return report

    generator = build.generator_of(config, "collect")
    random_reset = config.collect.reset == "random"
    unbroken = max(1, -(-config.collect.frames // config.collect.num_envs) - 1)
    length = config.collect.length or (10 if random_reset else unbroken)
    try:
        if observed is None:
            observed = collect(
                env, representation.encoder, config.collect.frames, length, config.collect.hold, random_reset, generator,
                watched(collecting),
            )  # fmt: skip
        else:
            every = max(1, observed.shape[0] * observed.shape[1] // config.collect.frames)
            observed = observed[::every].to(generator.device)
        known = bool(config.reuse.encoder)
        represented = represent(
            *representation, observed, generator, watched(training), config.skew, known=known, prior_report=watched(fitting)
        )
    finally:
        for bar in bars:
            bar.close()
    measured = measure(config, env, representation, represented, observed.flatten(0, 1))
    return {**represented.metrics, "collect_reset": config.collect.reset, **measured}, observed


def measure(
    config: RunConfig, env: Any, representation: Representation, represented: Represented, observed: Tensor
) -> dict[str, Any]:
    """Measure encoder, prior and latent frame, print what was found, and return the figures.

    On random states, where the worlds have any; the prior on the codes it was fitted to, those of the exploration's observations
    [M, …], which are also what the pictures of worlds without states are measured on.
    """
    encoder, frame = representation.encoder, representation.frame
    if config.evaluation.probe_states == 0:
        print(describe_frame(frame.spectrum, frame.weight, [], config.frame.name), file=sys.stderr)
        return {"probe": {}}
    generator = build.generator_of(config, "probe")
    found: dict[str, Any] = {"probe": {}}
    if env.task.factors:
        observed, latent, found = _probe_states(config, env, representation, generator)
    else:
        latent = represented.latent
        print(describe_frame(frame.spectrum, frame.weight, [], config.frame.name), file=sys.stderr)
    if encoder.can_decode:
        some = torch.randperm(len(latent), generator=generator, device=latent.device)[:PICTURES]
        moving = moving_pixels(observed[some], in_chunks(encoder.decode, latent[some]))
        if moving is not None:
            found |= {"moving_r2": moving.r2, "moving_share": moving.share}
    if len(frame.spectrum) > 1:
        found |= widest_gap(frame.spectrum)._asdict()
    found |= _hold_against_prior(config.evaluation.probe_states, representation, represented, generator)
    print(describe_code({**represented.metrics, **found}, encoder.latent_dim), file=sys.stderr)
    return found


def _probe_states(
    config: RunConfig, env: Any, representation: Representation, generator: torch.Generator
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """What random states are observed as, their codes f32[M, D], and what these tell of them, which is printed too."""
    encoder, frame = representation.encoder, representation.frame
    state = env.random_states(config.evaluation.probe_states)
    observed = torch.from_numpy(state if encoder.observes == "state" else env.show(state)).to(generator.device)
    latent = encoder.encode(observed)
    truth = torch.from_numpy(state).to(latent.device)
    probes = dict(zip(env.task.state_names, probe(latent, truth, generator), strict=True))
    print("what the code tells of random states:", file=sys.stderr)
    for (name, p), unit in zip(probes.items(), env.task.state_units, strict=True):
        line = f"  {name}: R² {p.r2:.4f}, median error {p.median_error:.4f} {unit} (linear R² {p.linear_r2:.3f})"
        print(line, file=sys.stderr)
    coordinates = frame(latent)
    linear = dict(zip(env.task.state_names, linear_r2(coordinates, truth), strict=True))
    print(describe_frame(frame.spectrum, frame.weight, list(linear.items()), config.frame.name), file=sys.stderr)
    agreement = distance_agreement(coordinates, frame.weight, state, env.task, generator)
    probed = {name: p._asdict() for name, p in probes.items()}
    framed = {name: {"r2": r2} for name, r2 in linear.items()}
    return observed, latent, {"probe": probed, "frame": framed, "coordinates": frame.dim, **agreement._asdict()}


def _hold_against_prior(
    most: int, representation: Representation, represented: Represented, generator: torch.Generator
) -> dict[str, float]:
    """How well imagined codes are told from those that the prior was fitted to, and imagined goals from places that were seen."""
    goals, frame = representation.goals, representation.frame
    count = min(most, len(represented.latent))
    seen = drawn(represented.latent, represented.weight, count, generator)
    imagined = goals.sample(count, generator)
    prior, goal = two_sample_gap(seen, imagined, generator), two_sample_gap(frame(seen), frame(imagined), generator)
    return {"prior_gap": prior.accuracy, "prior_gap_p": prior.p, "goal_gap": goal.accuracy, "goal_gap_p": goal.p}
