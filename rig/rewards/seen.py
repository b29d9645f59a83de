"""Rewards that ask others: how alike decoded pictures are, how probable the way to the goal is, where things truly are."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rig.rewards.base import Centred, Reward
from rig.types import WIDEST, Coordinates, Density, Picturer


@dataclass(frozen=True)
class PixelConfig:
    """Settings of the pixel reward: none."""

    name: str = "pixel"


class Pixel(Reward):
    """-‖x̂' - x̂_g‖, root mean square of the pixels in [0, 1] of decoded pictures: from 0, the same picture, to -1.

    What a picture shows counts by how large it is: the hand's arm for more than a puck. It knows no weights, and decodes two
    pictures a transition, which is slow. Source: the pixel-distance baseline of Nair et al. 2018, section 6.1, by decoded
    pictures, since an imagined goal has no other.
    """

    Config = PixelConfig

    def attach(self, encoder: Picturer, goals: Density, frame: Coordinates) -> None:
        """See Reward. Raises ValueError where the encoder does not decode."""
        if not encoder.can_decode:
            raise ValueError("it compares pictures, and this encoder has no decoder; try encoder=beta_vae")
        self.parts = (encoder, frame)  # in a tuple, or they would be taken for parts of this module and of its state

    def forward(self, latent: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
        """See Reward."""
        encoder, frame = self.parts
        here, there = (encoder.decode(frame.invert(each)).float() / 255 for each in (latent, goal))
        return -(here - there).square().flatten(1).mean(1).sqrt()


@dataclass(frozen=True)
class LogProbConfig:
    """Settings of the log-probability: none."""

    name: str = "log_prob"


class LogProb(Centred):
    """log p(m + z' - z_g) - log p(m), p the goal sampler's density moved from the codes' mean m to the goal: 0 there, in nats.

    It is what log p(z_g | z') is if codes scatter about a goal as they do about their mean: for a Gaussian prior minus half the
    squared Mahalanobis distance, at most 0 and without a lower bound. It knows no weights. Where p has another summit than m, as
    a mixture may, a place beside the goal may be worth more than the goal. Source: Nair et al. 2018, section 4.3, before eq. 3.
    """

    Config = LogProbConfig

    def attach(self, encoder: Picturer, goals: Density, frame: Coordinates) -> None:
        """See Reward. Raises ValueError where the sampler has no density."""
        if not goals.has_density:
            instead = "goals=gaussian_full" if frame.dim <= WIDEST else "reward=latent_distance"
            raise ValueError(f"it needs a density of codes, and this sampler has none; try {instead}")
        self.parts = (goals, frame)

    def forward(self, latent: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
        """See Reward."""
        goals, frame = self.parts
        centre = goals.log_prob(frame.invert(self.mean[None]))
        return goals.log_prob(frame.invert(self.mean + latent - goal)) - centre


@dataclass(frozen=True)
class OracleRewardConfig:
    """Settings of the oracle's reward: none."""

    name: str = "oracle"


class OracleReward(Reward):
    """-‖s' - s_g‖ of simulator states: at most 0, without a lower bound, in the states' own units (metres; radians of a door).

    What an agent that sees pictures would learn if its reward did not come from them: with encoder=oracle, the other half of a
    2 × 2 of observation and reward. An imagined goal has no state, so every goal that is learnt from must be a future one.
    Source: the oracle of Nair et al. 2018, section 6.1, in its reward alone.
    """

    Config = OracleRewardConfig
    reads = "state"

    def forward(self, latent: Tensor, goal: Tensor, weight: Tensor) -> Tensor:
        """(s' f32[B, S], s_g f32[B, S], weight f32[K], of no use here) -> f32[B]."""
        return -(latent - goal).norm(dim=1)
