"""How a critic tells a value, and learns it: as a number, or as a histogram whose mean is the value."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, mse_loss

BINS = 101
SPREAD = 0.75
"""Std of a target's Gaussian, in bins. Source: Farebrother et al. 2024 (arXiv:2403.03950), section 4."""


class Scalar(nn.Module):
    """A critic's one output is the value, and its loss the squared error."""

    width = 1
    """Outputs of a critic."""

    def fit(self, reward: Tensor, steps: Tensor, discount: float) -> None:
        """Nothing depends on how large values can be."""

    def value(self, output: Tensor) -> Tensor:
        """Values f32[...] of outputs f32[..., 1]."""
        return output[..., 0]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Squared error of outputs f32[C, B, 1] against targets f32[B], mean over B and summed over C."""
        return len(output) * mse_loss(output[..., 0], target.expand_as(output[..., 0]))


class Histogram(nn.Module):
    """HL-Gauss: a critic's outputs are logits of bins, its targets Gaussians around the scalar ones, its loss the cross-entropy.

    The bins reach as far as values can, a quarter more than (greatest reward)/(1 - discount) to either side of 0, which is where
    a new critic begins. How far rewards go is seen in the first batch: relabelled goals are drawn from all over. Later rewards
    never move the bins, since that would change the meaning of all that was learnt; a target beyond them counts as their end.
    Source: Farebrother et al. 2024 (arXiv:2403.03950), sections 3.1 and 4; Imani & White 2018 (arXiv:1806.04613).
    """

    width = BINS
    reach: Tensor
    places: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("reach", torch.ones(()))
        self.register_buffer("places", torch.linspace(-1, 1, BINS + 1), persistent=False)

    @torch.no_grad()
    def fit(self, reward: Tensor, steps: Tensor, discount: float) -> None:
        """Set the bins from the first batch's rewards f32[B], each of so many steps f32[B], discounted; waits for nothing."""
        discount = min(discount, 0.999)  # undiscounted values have no bound; a thousand steps serve for one
        greatest = (reward / (1 - discount ** steps.double())).abs().max()
        self.reach.copy_(1.25 * torch.where(greatest > 0, greatest, 1 / (1 - discount)))

    def value(self, logits: Tensor) -> Tensor:
        """Values f32[...] of logits f32[..., BINS]: the means of the histograms."""
        centres = self.reach * (self.places[1:] + self.places[:-1]) / 2
        return (logits.softmax(-1) * centres).sum(-1)

    def target(self, value: Tensor) -> Tensor:
        """Shares of the bins f32[..., BINS] that a Gaussian around values f32[...] has."""
        edges, width = self.reach * self.places, 2 * self.reach / BINS
        away = (edges - value.clamp(-self.reach, self.reach)[..., None]) / (SPREAD * 2**0.5 * width)
        below = torch.erf(away)
        return (below[..., 1:] - below[..., :-1]) / (below[..., -1:] - below[..., :1])

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of logits f32[C, B, BINS] against scalar targets f32[B], mean over B and summed over C."""
        return -(self.target(target) * log_softmax(logits, -1)).sum(-1).mean(1).sum()


VALUES: dict[str, type[Scalar] | type[Histogram]] = {"mse": Scalar, "hl_gauss": Histogram}
"""Every way in which a critic learns a value."""
