"""The few named tuples and protocols that cross rooms, and what several rooms ask of codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

Report = Callable[[int, int, dict[str, float]], None]
"""Called while something is fitted, with (steps done, steps in all, metrics); must be cheap."""


def silent(done: int, total: int, metrics: Mapping[str, float]) -> None:
    """Report nothing."""


WIDEST = 2048
"""Most numbers of a code whose covariance is ever taken."""


def need_covariance(latent_dim: int, instead: str) -> None:
    """Raise ValueError where codes have too many numbers for their covariance to be taken; `instead` is what to type then."""
    if latent_dim > WIDEST:
        raise ValueError(
            f"it takes the covariance of codes of at most {WIDEST:,} numbers, and these have {latent_dim:,}; try {instead}"
        )


def living(variance: Tensor, share: float = 1e-6) -> Tensor:
    """Variances [D] to divide by: of one below that share of their mean, that mean.

    Where codes never vary nothing is to be seen, and imagined goals or a later frame that left it would be blown up.
    """
    mean = variance.mean().clamp(min=1e-12)
    return torch.where(variance > share * mean, variance, mean)


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


class Coder(Protocol):
    """What gives observations their codes: an encoder, for those who know no more of one."""

    observes: str
    """"frame" or "state"."""

    def encode(self, observed: Tensor) -> Tensor:
        """Codes f32[B, D] of observations u8[B, H, W, 3] (or f32[B, S])."""
        ...


class Picturer(Protocol):
    """What makes pictures of codes: an encoder, for those who know no more of one."""

    can_decode: bool
    has_density: bool

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures u8[B, H, W, 3] of codes f32[B, D]."""
        ...

    def posterior_covariance(self, observed: Tensor) -> Tensor:
        """Covariance f32[D, D] of q(z|x), on average over frames u8[B, H, W, 3], where there is a posterior (`has_density`)."""
        ...


class Density(Protocol):
    """How probable codes are: a goal sampler, for those who know no more of one."""

    has_density: bool

    def log_prob(self, latent: Tensor) -> Tensor:
        """log p(z) in nats, f32[B], of codes f32[B, D]."""
        ...


class Coordinates(Protocol):
    """The way back from agent coordinates to codes: a latent frame, for those who know no more of one."""

    @property
    def dim(self) -> int:
        """K, the number of agent coordinates, or what it is at most while nothing is fitted."""
        ...

    @property
    def full(self) -> Tensor:
        """f32[K, D]: coordinates are codes, less an offset, times its transpose."""
        ...

    def invert(self, coordinates: Tensor) -> Tensor:
        """Codes f32[B, D] that have these agent coordinates f32[B, K]."""
        ...


@runtime_checkable
class Tokens(Protocol):
    """The map between codes f32[B, D] and grids of symbols, of an encoder whose code is made of them."""

    symbols: int
    """K, how many there are."""
    grid: tuple[int, int]
    """Rows and columns of cells."""

    def tokens(self, latent: Tensor) -> Tensor:
        """Symbols i64[B, rows, columns], from 0 to K - 1, of codes f32[B, D]."""
        ...

    def embed(self, tokens: Tensor) -> Tensor:
        """Codes f32[B, D] of symbols i64[B, rows, columns]; `tokens` undoes it."""
        ...
