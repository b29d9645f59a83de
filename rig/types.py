"""The few named tuples that cross rooms."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """What a learner is given: transitions, already relabelled and rewarded.

    Codes are in the coordinates of the run's latent frame (dimensionless); D of them, A actions.
    """

    latent: Tensor
    """f32[B, D], code of the frame before the action."""
    goal: Tensor
    """f32[B, D], the (relabelled) goal's code."""
    action: Tensor
    """f32[B, A], in [-1, 1]."""
    reward: Tensor
    """f32[B], recomputed for this goal: discounted and summed over `steps` env steps."""
    next_latent: Tensor
    """f32[B, D], code of the frame `steps` env steps later."""
    steps: Tensor
    """f32[B], env steps from the one frame to the other: 1, or up to `n_step`."""


class Indices(NamedTuple):
    """Which transitions a batch consists of and which goal each is given (all i64[…, B], on the replay's device)."""

    episode: Tensor
    """Row of the ring."""
    step: Tensor
    """Step inside the episode, 0 <= step < length."""
    goal_step: Tensor
    """Step whose achieved frame is the goal; -1: keep the rollout's goal; -2: imagine one."""
