"""What actor and critics are given of where the agent is and where it is meant to be."""

from __future__ import annotations

import torch
from torch import Tensor

NEAR = 0.05
"""Distance, in agent coordinates (of order 1), below which the logarithm passes into a line."""
WIDTHS = {"absolute": 2, "relative": 2, "logarithmic": 3}
"""Every way of giving the goal -> how many numbers a coordinate becomes."""


def goal_input(kind: str, latent: Tensor, goal: Tensor) -> Tensor:
    """f32[B, 2K or 3K] of latent u f32[B, K] and goal u_g f32[B, K]: what the networks of a learner are given.

    absolute: [u, u_g], as published. relative: [u, d], d = u_g - u. logarithmic: [u, d, sign(d)·log(1 + |d|/NEAR)], so that how a
    small distance differs from a smaller one is as plain as how a large one differs from a larger; on d alone a network
    smooths over what is near the goal. Source: the symmetric logarithm of Hafner et al. 2023 (arXiv:2301.04104, eq. 9), on
    differences.
    """
    if kind == "absolute":
        return torch.cat((latent, goal), 1)
    difference = goal - latent
    if kind == "relative":
        return torch.cat((latent, difference), 1)
    return torch.cat((latent, difference, difference.sign() * (difference.abs() / NEAR).log1p()), 1)
