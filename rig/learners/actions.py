"""From a deterministic actor's output to actions in [-1, 1], to better ones near them, and to those of its behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

BOUNDS = ("tanh", "clip")
"""Every way of keeping actions in [-1, 1]."""
SPREAD = 0.3
"""Standard deviation of candidate actions about the policy's, action units."""
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


class Candidates(nn.Module):
    """Of the policy's action and others about it, the one that the critics value most.

    An actor climbs the critics' slope by one network for all states: it lags behind them, and stays on a near hill where a
    higher one is a step away (to take up slack, to go round a puck). The critics know better, and asking them costs one forward
    pass of `count` rows a world. The others lie where a normal distribution of standard deviation SPREAD has its mass, at the
    same `count` - 1 offsets in every state, so that the same state has always the same action.
    Source: Ghasemipour et al. 2021 (arXiv:2007.11091), section 4, where the proposals are a generative model's; Simmons-Edler et
    al. 2019 (arXiv:1903.10605) choose so by the cross-entropy method.
    """

    offsets: Tensor

    def __init__(self, count: int, action_dim: int) -> None:
        super().__init__()
        sobol = torch.quasirandom.SobolEngine(action_dim, scramble=True, seed=0).draw(count)[1:].clamp(1e-3, 1 - 1e-3)
        others = SPREAD * 2**0.5 * torch.erfinv(2 * sobol - 1)
        self.register_buffer("offsets", torch.cat((torch.zeros(1, action_dim), others)), persistent=False)

    def forward(self, given: Tensor, action: Tensor, value: Callable[[Tensor], Tensor]) -> Tensor:
        """The best f32[N, A] about `action` f32[N, A]; `value` maps [`given` f32[N, W], actions], f32[B, W + A], to f32[B]."""
        proposed = (action + self.offsets[:, None]).clamp(-1, 1)
        count = len(proposed)
        values = value(torch.cat((given.repeat(count, 1), proposed.flatten(0, 1)), 1)).view(count, -1)
        best = values.argmax(0)[None, :, None].expand(1, *action.shape)
        return proposed.gather(0, best)[0]


class Exploration(nn.Module):
    """Behaviour: the policy's actions with noise, and a share of uniform ones in their place.

    gaussian: drawn anew at each step. ou: an Ornstein-Uhlenbeck process in each world, of which a share `reversion` is lost a
    step, so that noise leans the same way for 1/`reversion` steps. Both have the same standard deviation `noise`.
    A uniform action is held for `hold` steps on average, `uniform` being the share of all steps in which one is: held, it takes
    a hand across a table, where as many single ones undo each other. Noise and what is held begin as they go on for ever, and
    run on from one episode to the next, so that none begins more quietly than it ends; where they stand are buffers, which
    `state_dict` holds. Source: Lillicrap et al. 2015 (arXiv:1509.02971), section 7; for the holding, Dabney et al. 2021
    (arXiv:2006.01782), temporally extended ε-greedy exploration, here with geometric lengths.
    """

    drift: Tensor
    held: Tensor
    holding: Tensor

    def __init__(self, kind: str, noise: float, reversion: float, uniform: float, hold: float) -> None:
        super().__init__()
        self.kind, self.noise, self.uniform = kind, noise, uniform
        self.keep, self.hold = 1 - reversion, hold
        self.begin = uniform / hold / (1 - uniform + uniform / hold)  # chance of one that holds none: so the share stays
        if kind == "ou":
            self.register_buffer("drift", torch.empty(0, 0))  # f32[N, A], once N worlds have been acted in
        if hold > 1:
            self.register_buffer("held", torch.empty(0, 0))  # f32[N, A] likewise: what is held
            self.register_buffer("holding", torch.empty(0, 1, dtype=torch.bool))  # bool[N, 1]: in which worlds

    def forward(self, action: Tensor, generator: torch.Generator) -> Tensor:
        """Actions f32[N, A] in [-1, 1] of N worlds whose policy's are `action` f32[N, A]; one step of the noise."""
        noise = torch.randn(action.shape, generator=generator, device=action.device) * self.noise
        if self.kind == "ou":
            begun = self.drift.shape == noise.shape
            self.drift = noise = self.keep * self.drift + (1 - self.keep**2) ** 0.5 * noise if begun else noise
        uniform = torch.rand(action.shape, generator=generator, device=action.device) * 2 - 1
        chance, ending = torch.rand((2, len(action), 1), generator=generator, device=action.device)
        replaced = chance < self.begin
        if self.hold > 1:
            if self.held.shape == action.shape:
                goes_on = self.holding & (ending >= 1 / self.hold)
                uniform, replaced = torch.where(goes_on, self.held, uniform), goes_on | replaced
            else:
                replaced = chance < self.uniform
            self.held, self.holding = uniform, replaced
        return torch.where(replaced, uniform, (action + noise).clamp(-1, 1))

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """Make room for the noise of as many worlds as were acted in."""
        for name, buffer in list(self.named_buffers(recurse=False)):
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
