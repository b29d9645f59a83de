"""From a deterministic actor's output to actions in [-1, 1], and to those of its behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

BOUNDS = ("tanh", "clip")
"""Every way of keeping actions in [-1, 1]."""
NOISES = ("gaussian", "ou")
"""Every kind of behaviour noise."""


def bounded(kind: str, output: Tensor) -> Tensor:
    """Actions f32[..., A] in [-1, 1] of what an actor's last, linear layer puts out f32[..., A]."""
    return torch.tanh(output) if kind == "tanh" else output.clamp(-1, 1)


def inverted(loss: Tensor, action: Tensor, output: Tensor) -> Tensor:
    """`loss` f32[], whose gradient by the outputs f32[B, A] is inverted: fit for actions that are these, cut off at ±1.

    A cut passes no gradient, so that an output once beyond ±1 would stay there. Here the gradient by the action is scaled by the
    room that is left the way it goes: (1 - output)/2 upwards, (1 + output)/2 downwards. Room is negative beyond the bound, which
    turns the gradient round: outputs come to rest at the bound, or wherever inside the loss is flat. The other ways in use, a
    penalty on actions or on what lies outside, pull good actions towards the middle too or need a weight in the unit of values.
    Source: Hausknecht & Stone 2016 (arXiv:1511.04143), "inverting gradients", of three ways the only one that learnt there.
    """
    (slope,) = torch.autograd.grad(loss, action)
    room = torch.where(slope < 0, 1 - output, 1 + output) / 2
    steered = (output * (slope * room).detach()).sum()
    return loss.detach() + (steered - steered.detach())


class Exploration(nn.Module):
    """Behaviour: the policy's actions with noise, and a share of uniform ones in their place.

    gaussian: drawn anew at each step. ou: an Ornstein-Uhlenbeck process in each world, of which a share `reversion` is lost a
    step, so that noise leans the same way for 1/`reversion` steps. Both have the same standard deviation `noise`. The process
    begins as it goes on for ever, and runs on from one episode to the next, so that none begins more quietly than it ends; where
    it stands is a buffer, which `state_dict` holds. Source: Lillicrap et al. 2015 (arXiv:1509.02971), section 7.
    """

    drift: Tensor

    def __init__(self, kind: str, noise: float, reversion: float, uniform: float) -> None:
        super().__init__()
        self.kind, self.noise, self.uniform = kind, noise, uniform
        self.keep = 1 - reversion
        if kind == "ou":
            self.register_buffer("drift", torch.empty(0, 0))  # f32[N, A], once N worlds have been acted in

    def forward(self, action: Tensor, generator: torch.Generator) -> Tensor:
        """Actions f32[N, A] in [-1, 1] of N worlds whose policy's are `action` f32[N, A]; with ou, one step of the process."""
        noise = torch.randn(action.shape, generator=generator, device=action.device) * self.noise
        if self.kind == "ou":
            begun = self.drift.shape == noise.shape
            self.drift = noise = self.keep * self.drift + (1 - self.keep**2) ** 0.5 * noise if begun else noise
        uniform = torch.rand(action.shape, generator=generator, device=action.device) * 2 - 1
        chance = torch.rand((len(action), 1), generator=generator, device=action.device)
        return torch.where(chance < self.uniform, uniform, (action + noise).clamp(-1, 1))

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Make room for the process of as many worlds as were acted in."""
        if self.kind == "ou" and f"{prefix}drift" in state_dict:
            self.drift = torch.empty_like(state_dict[f"{prefix}drift"], device=self.drift.device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
