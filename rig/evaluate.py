"""The only evaluation loop: training, the command line and notebooks all call it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rig.algorithm import observe, whole
from rig.encoders.base import Encoder
from rig.goals.frame import LatentFrame
from rig.learners.base import Learner
from rig.rewards import weighted_distance

Floats = NDArray[np.float32]


class Rollouts(NamedTuple):
    """E episodes of T steps, without exploration noise."""

    state: Floats
    """f32[E, T + 1, S], simulator state, for the metrics only."""
    frame: NDArray[np.uint8]
    """u8[E, T + 1, H, W, 3], what the camera saw."""
    goal_state: Floats | None
    """f32[E, S]; None where the goals are pictures of unknown states."""
    goal_frame: NDArray[np.uint8]
    """u8[E, H, W, 3]"""
    latent_distance: Floats
    """f32[E, T + 1], distance to the goal in the agent's coordinates, with the frame's weights."""


class Policy(NamedTuple):
    """What acts in an evaluation."""

    encoder: Encoder
    frame: LatentFrame
    learner: Learner
    device: torch.device


def rollout(env: Any, policy: Policy, goal_state: Floats | None, goal_frame: NDArray[np.uint8], horizon: int) -> Rollouts:
    """Run the policy once towards each of E goals, E = env.num_envs; goals come as frames, with their states where known."""

    def code(observed: torch.Tensor) -> torch.Tensor:
        return policy.frame(policy.encoder.encode(observed))

    def distance(latent: torch.Tensor) -> Floats:
        return weighted_distance(latent, goal, policy.frame.weight).cpu().numpy()

    goal_observed = goal_state if policy.encoder.observes == "state" else goal_frame
    goal = code(torch.from_numpy(goal_observed).to(policy.device))
    observation = env.reset()
    latent = code(observe(policy.encoder, observation, policy.device))
    states, frames, distances = [observation.state.copy()], [observation.frame.copy()], [distance(latent)]
    for _ in range(horizon):
        observation = env.step(policy.learner.act(latent, goal).cpu().numpy())
        latent = code(observe(policy.encoder, observation, policy.device))
        states.append(observation.state.copy())
        frames.append(observation.frame.copy())
        distances.append(distance(latent))
    return Rollouts(np.stack(states, 1), np.stack(frames, 1), goal_state, goal_frame, np.stack(distances, 1))


def rollouts(env: Any, policy: Policy, goal_state: Floats | None, goal_frame: NDArray[np.uint8], horizon: int) -> Rollouts:
    """Rollouts towards any number of goals, `env.num_envs` at a time; the last batch is filled up with repeats and cut."""
    count, worlds = len(goal_frame), env.num_envs
    batches: list[Rollouts] = []
    for first in range(0, count, worlds):
        rows = np.arange(first, first + worlds) % count
        states = None if goal_state is None else goal_state[rows]
        batches.append(whole(partial(rollout, env, policy, states, goal_frame[rows], horizon)))
    state, frame, distance = (
        np.concatenate([getattr(batch, name) for batch in batches])[:count] for name in ("state", "frame", "latent_distance")
    )
    return Rollouts(state, frame, goal_state, goal_frame, distance)


def spearman(a: Floats, b: Floats) -> float:
    """Spearman's rank correlation of two flat arrays f32[M], mean ranks for ties; nan where either is constant."""

    def ranks(x: Floats) -> NDArray[np.float64]:
        _, inverse, count = np.unique(x, return_inverse=True, return_counts=True)
        return (np.cumsum(count) - 0.5 * (count - 1))[inverse]

    ra, rb = ranks(a), ranks(b)
    if ra.std() == 0 or rb.std() == 0:
        return float("nan")
    return float(np.corrcoef(ra, rb)[0, 1])


def mean_distance(distances: Mapping[str, Floats]) -> Floats:
    """The mean over a task's factors f32[...] each: what counts as the true distance of two states where there must be one."""
    return np.stack(list(distances.values())).mean(0, dtype=np.float32)


def summarise(task: Any, rollouts: Rollouts) -> dict[str, Any]:
    """Success, final and idle distance of each factor (in its unit), and latent distance, over episodes and for each.

    Doing nothing leaves a task where it starts (its contract test), so that the idle distance is the one at the first step.
    Keys that need the goal's state are None where it is unknown, and the rank correlation where a distance never changes.
    """
    final_latent = rollouts.latent_distance[:, -1]
    per_episode: list[dict[str, Any]] = [{"latent_distance": float(d)} for d in final_latent]
    result: dict[str, Any] = {
        "success_rate": None,
        "final_distance_mean": None,
        "latent_distance_mean": float(final_latent.mean()),
        "latent_true_spearman": None,
        "factors": {},
        "per_episode": per_episode,
    }
    if rollouts.goal_state is None:
        return result
    episodes, steps, dims = rollouts.state.shape
    flat_goal = np.repeat(rollouts.goal_state, steps, axis=0)
    distances = {
        name: d.reshape(episodes, steps) for name, d in task.distances(rollouts.state.reshape(-1, dims), flat_goal).items()
    }
    for name, factor in task.factors.items():
        final, idle = distances[name][:, -1], distances[name][:, 0]
        result["factors"][name] = {
            "final_distance_mean": float(final.mean()),
            "idle_distance_mean": float(idle.mean()),
            "success_rate": float((final < factor.threshold).mean()),
            "unit": factor.unit,
        }
        for row, value in zip(per_episode, final, strict=True):
            row[f"{name}_distance"] = float(value)
    success = task.success(rollouts.state[:, -1], rollouts.goal_state)
    for row, reached in zip(per_episode, success, strict=True):
        row["success"] = bool(reached)
    total = mean_distance(distances)
    result["success_rate"] = float(success.mean())
    result["final_distance_mean"] = float(total[:, -1].mean())
    correlation = spearman(rollouts.latent_distance.ravel(), total.ravel())
    result["latent_true_spearman"] = None if np.isnan(correlation) else correlation
    return result
