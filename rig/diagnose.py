"""What is measured of a representation beside the probe: whether its distances, its prior and its pictures can be trusted.

Evaluation only: nothing of it reaches an agent.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from rig.evaluate import Floats, mean_distance, spearman
from rig.probe import perceptron, shortened, standardised
from rig.rewards import pair_distances

PAIRS = 50_000
"""Pairs of states whose distances are ranked."""
NEAR = 0.2
"""Share of the pairs that count as near: those of the least true distance."""
MOVES = 0.1
"""A pixel moves if its standard deviation is above this share of the largest one's."""


class Agreement(NamedTuple):
    """Spearman's rank correlations of latent with true distance; None where either never changes."""

    spearman: float | None
    """Over all pairs: whether far is far."""
    near_spearman: float | None
    """Over near pairs alone, where an agent has to tell which of two places is nearer to its goal."""


def distance_agreement(coordinates: Tensor, weight: Tensor, state: Floats, task: Any, generator: torch.Generator) -> Agreement:
    """How well distances of agent coordinates f32[M, K], under weights f32[K], rank pairs of the states f32[M, S] they are of.

    A pair is of two different ones of M > 1 states, drawn evenly. The true distance is an evaluation's: the mean over the task's
    factors. A folded code may agree on near pairs and not on far ones, a blurred one the other way round: hence two figures.
    Source: Spearman 1904.
    """
    count = len(state)
    one = torch.randint(count, (PAIRS,), generator=generator, device=generator.device)
    other = (one + torch.randint(1, count, (PAIRS,), generator=generator, device=generator.device)) % count
    latent = pair_distances(coordinates, one, other, weight).cpu().numpy()
    true = mean_distance(task.distances(state[one.cpu().numpy()], state[other.cpu().numpy()]))
    near = true <= np.quantile(true, NEAR)
    found = (spearman(latent, true), spearman(latent[near], true[near]))
    return Agreement(*(None if math.isnan(value) else value for value in found))


class Gap(NamedTuple):
    """How well a classifier tells two samples apart, on the fifth of the rows that it never saw."""

    accuracy: float
    """Share of rows given to the right sample: .5 where nothing tells them apart, 1 where everything does."""
    p: float
    """Probability of that accuracy or a better one if both samples are of one distribution."""


def two_sample_gap(real: Tensor, imagined: Tensor, generator: torch.Generator, steps: int = 500) -> Gap:
    """Classifier two-sample test of rows f32[M, D] against as many others f32[M, D]: can a small network tell which is which?

    Preferred to a kernel's maximum mean discrepancy (Gretton et al. 2012) because an accuracy means the same whatever the scale
    and dimension of the codes, and no bandwidth is to be chosen. The classifier is the probe's perceptron: unlike a comparison
    of moments, it sees that codes lie in a bent or hollow heap. `p` holds where rows are drawn independently of each other.
    Source: Lopez-Paz & Oquab 2017 (arXiv:1610.06545), section 3, with their normal approximation of `p`.
    """
    count = len(real)
    x = torch.cat((real, imagined))
    x = shortened(x, x)
    x = standardised(x, x)
    y = torch.cat((torch.ones_like(real[:, :1]), torch.zeros_like(real[:, :1])))
    rows = torch.arange(2 * count, device=x.device)
    test = rows % count >= count * 4 // 5
    net = perceptron(x, y, rows[~test], binary_cross_entropy_with_logits, generator, steps)
    with torch.no_grad():
        accuracy = float(((net(x[test]) > 0) == (y[test] > 0.5)).double().mean())
    z = (accuracy - 0.5) * 2 * math.sqrt(int(test.sum()))
    return Gap(accuracy, 0.5 * math.erfc(z / math.sqrt(2)))


def drawn(latent: Tensor, weight: Tensor | None, count: int, generator: torch.Generator) -> Tensor:
    """`count` of codes f32[M, D], each drawn alike or by `weight` f64[M], independently of the others: f32[count, D].

    So the codes themselves, with their weights, are the distribution that a prior is held against, however much consecutive
    frames resemble each other.
    """
    if weight is None:
        return latent[torch.randint(len(latent), (count,), generator=generator, device=latent.device)]
    return latent[torch.multinomial(weight, count, replacement=True, generator=generator)]


class Moving(NamedTuple):
    """How much decoded pictures hold of what moves."""

    r2: float
    """Share of the moving pixels' variance that is explained: 1 is perfect, 0 no better than the mean picture."""
    share: float
    """Share of all pixels, channel by channel, that move."""


def moving_pixels(frames: Tensor, decoded: Tensor) -> Moving | None:
    """R² of pictures decoded from the codes of frames, both u8[M, H, W, 3], over the pixels that move; None where none does.

    Each channel of a pixel counts by itself, and moves if its standard deviation over the frames is above `MOVES` of the largest.
    Squared errors and variances are summed over all that move (variance-weighted R²). What stands still is left out: its error is
    small whatever was learnt, and makes a mean over pictures look good that have lost what matters.
    """
    total = torch.zeros(frames.shape[1:], dtype=torch.int64, device=frames.device)
    squares, errors = torch.zeros_like(total), torch.zeros_like(total)
    for real, made in zip(frames.split(128), decoded.split(128), strict=True):  # in whole numbers, which add up exactly
        real, made = real.to(torch.int32), made.to(torch.int32)
        total += real.sum(0)
        squares += real.square().sum(0)
        errors += (real - made).square().sum(0)
    spread = squares.double() - total.double().square() / len(frames)
    moving = spread > MOVES**2 * spread.max()  # never, where nothing has any spread
    if not bool(moving.any()):
        return None
    return Moving(float(1 - errors[moving].sum() / spread[moving].sum()), float(moving.double().mean()))
