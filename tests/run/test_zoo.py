"""Every encoder with every goal sampler that fits it, and with every frame and reward: all train and are evaluated on Reach."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rig import build
from rig.algorithm import collect, represent
from rig.choices import GROUPS, find
from rig.cli_compose import compose
from rig.config import RunConfig
from rig.errors import UserError
from rig.evaluate import rollouts, summarise
from rig.types import Tokens, silent
from rig.video import write_png

HORIZON, STEPS = 6, 18
TINY = [
    "task=reach", f"task.horizon={HORIZON}", f"steps={STEPS}", "random_steps=6", "collect.num_envs=4", "updates_per_step=1",
    "learner.batch=16", "device=cpu",
]  # fmt: skip
BASE = compose(TINY)
SIDES = {"world_models": 64}
"""Encoder -> the only side of a picture that it takes."""
OF_COVARIANCE = (
    "gaussian", "gaussian_full", "gaussian_kl", "standard_normal", "mixture", "flow", "skewed", "slow", "whitened",
    "mahalanobis", "log_prob",
)  # fmt: skip
"""Priors and frames, and rewards with the prior that is left, that are refused to codes as long as a picture."""
QUICK = {"steps": 3, "codes": 64}
"""Settings of goal samplers that are fitted in a moment; `codes` is another thing in an encoder."""


def names(group: str) -> list[str]:
    return list(GROUPS[group].table)


def changed(settings: Any, **values: Any) -> Any:
    """Settings with those of these values that they have."""
    known = {field.name for field in fields(settings)}
    return replace(settings, **{name: value for name, value in values.items() if name in known})


def tiny(encoder: str, goals: str, frame: str, reward: str, folder: Path) -> RunConfig:
    """A run of a moment."""
    base, seeing = BASE, find("encoder", encoder).config
    training = getattr(seeing, "training", None)
    seeing = changed(seeing, training=training and replace(training, steps=3, batch=8))
    drawing = changed(find("goals", goals).config, folder=str(folder), **QUICK)
    task = replace(base.task, size=SIDES.get(encoder, 48))
    rewarding = changed(find("reward", reward).config, steps=3)
    relabel = replace(base.relabel, keep=0, imagined=0, future=1) if reward == "oracle" else base.relabel
    skew = replace(base.skew, power=-1.0, density="coordinates") if goals == "skewed" else base.skew
    parts = {"encoder": seeing, "goals": drawing, "frame": find("frame", frame).config, "reward": rewarding, "relabel": relabel}
    return replace(base, task=task, skew=skew, **parts)


def trained(config: RunConfig, envs: dict[str, Any], observed: torch.Tensor) -> dict[str, Any]:
    """Algorithm 1 from line 2 to the end, and what an evaluation says of it."""
    representation = build.make_representation(config, envs["collect"])
    represent(*representation, observed, build.generator_of(config, "collect"), silent, config.skew)
    agent = build.make_agent(config, envs["train"], representation)
    metrics: dict[str, torch.Tensor] = {}
    while agent.steps < STEPS:
        metrics |= agent.step()
    assert metrics and all(bool(value.isfinite()) for value in metrics.values())
    env = envs["evaluate"]
    goals = env.sample_goals(2)
    policy = build.make_policy(config, representation, agent.learner)
    return summarise(env.task, rollouts(env, policy, goals, env.show(goals), HORIZON))


@pytest.mark.parametrize("encoder", [name for name in names("encoder") if name != "pretrained"])
def test_every_prior_frame_and_reward_goes_with_an_encoder(encoder: str, tmp_path: Path) -> None:
    config = tiny(encoder, "replayed", "identity", "latent_distance", tmp_path)
    envs = {stream: build.make_env(config, 0, stream, n) for stream, n in (("collect", 4), ("train", 1), ("evaluate", 2))}
    blank = build.make_representation(config, envs["collect"]).encoder
    observed = collect(envs["collect"], blank, 64, 15, 6.0, True, build.generator_of(config, "collect"), silent)
    for number, picture in enumerate(envs["collect"].random_frames(3)):
        write_png(tmp_path / f"{number}.png", picture)
    refused = (*(OF_COVARIANCE if encoder == "pixels" else ()), *(() if blank.can_decode else ("pixel",)))
    frames, rewards = ([name for name in names(group) if name not in refused] for group in ("frame", "reward"))
    for number, goals in enumerate(names("goals")):
        reward = "cosine" if goals == "pixelcnn" else rewards[number % len(rewards)]  # it has no density for log_prob
        config = tiny(encoder, goals, frames[number % len(frames)], reward, tmp_path)
        gridless, blind = goals == "pixelcnn" and not isinstance(blank, Tokens), goals == "dataset" and blank.observes == "state"
        if gridless or blind or goals in refused:
            remedy = "goals=replayed" if goals in refused else "encoder="
            part = "skew.power=-1" if goals == "skewed" else f"goals={goals}"
            with pytest.raises(UserError, match=f"{part} with encoder={encoder}: .*; try .*{remedy}"):
                build.make_representation(config, envs["collect"])
            continue
        summary = trained(config, envs, observed)
        assert np.isfinite(summary["latent_distance_mean"]) and 0 <= summary["factors"]["hand"]["final_distance_mean"] < 1, goals


@pytest.mark.parametrize(("encoder", "drawn"), [("oracle", False), ("beta_vae", True)])
def test_pictures_are_drawn_where_they_are_looked_at(encoder: str, drawn: bool, tmp_path: Path) -> None:
    config = tiny(encoder, "replayed", "identity", "latent_distance", tmp_path)
    for stream, expected in (("collect", drawn), ("train", drawn), ("evaluate", True)):
        assert build.make_env(config, 0, stream, 1).reset().frame.any() == expected, stream
