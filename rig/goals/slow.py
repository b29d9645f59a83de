"""Slow features of a code: the directions that change least from step to step, and which of them span the rest."""

from __future__ import annotations

import torch
from torch import Tensor

EXPLAINED = 0.8
"""Share of a feature's variance that the kept ones must predict for it to be left out."""
FASTEST = 0.02
"""Slowness (half the mean squared step of a unit-variance feature) up to which nothing is noise: it remembers for 50 steps."""
TESTED = 1500
"""Frames on which a prediction is tried."""
PERSISTENT = 0.3
"""Correlation of successive steps above which a fast feature is no noise: that of actions held for six steps, with an error in
every frame whose variance is a third of the squared step. The error alone has -0.5, a random walk 0."""


def slow_features(episodes: Tensor, ridge: float) -> tuple[Tensor, Tensor, Tensor]:
    """Linear slow feature analysis of codes f64[E, T, D]: (offset f64[D], matrix f64[D, D], slowness f64[D]), slowest first.

    Features (z - offset) @ matrix.T have unit variance (less the ridge) and are uncorrelated; slowness is half their mean squared
    one-step difference, so that white noise has 1 and a feature that never changes within an episode 0. Solves the generalised
    eigenproblem cov(differences)/2 · v = slowness · (cov(codes) + ridge) · v; principal directions of the codes with less
    variance than the ridge count as noise. Source: Wiskott & Sejnowski 2002, section 3.
    """
    codes = episodes.flatten(0, 1)
    offset = codes.mean(0)
    difference = episodes.diff(dim=1).flatten(0, 1)
    step_covariance = difference.T @ difference / (2 * len(difference))
    covariance = (codes - offset).T @ (codes - offset) / len(codes)
    variance, principal = torch.linalg.eigh(covariance)
    whitening = principal * (variance + ridge).rsqrt()
    whitened = whitening.T @ step_covariance @ whitening
    alive = (variance > ridge).to(codes.dtype)
    # Under the ridge a dead latent hardly moves, as if it were the slowest of all; it is given the slowness of noise.
    slowness, axes = torch.linalg.eigh(whitened * alive.outer(alive) + (1 - alive).diag())
    return offset, (whitening @ axes).T, slowness.clamp(min=0)


def neighbour_r2(inputs: Tensor, output: Tensor, generator: torch.Generator, points: int = 8000, neighbours: int = 4) -> float:
    """How well inputs f64[E, T, K] predict an output f64[E, T]: R² out of sample of a locally linear regression.

    A frame is predicted from those near it among `points` others, of other half-episodes: within its own, near inputs are
    near in time, and there anything slow is predicted by what was. Few points would take a bend for noise; slopes are shrunk by a
    thousandth of a unit variance, since where things rest, nothing but the error of the code spreads the neighbours.
    """
    (episodes, length, dim), device = inputs.shape, inputs.device
    x, y = inputs.flatten(0, 1), output.flatten()
    half = torch.arange(length, device=device) * 2 // length + 2 * torch.arange(episodes, device=device)[:, None]
    half = half.flatten()
    chosen = torch.randperm(len(x), generator=generator, device=device)
    tested, known = chosen[:TESTED], chosen[-points:]
    apart = torch.cdist(x[tested], x[known]).masked_fill_(half[tested, None] == half[known], torch.inf)
    nearest = known[apart.topk(min(neighbours * (dim + 1), len(known) // 2), largest=False).indices]
    local = x[nearest] - x[tested, None]
    design = torch.cat((torch.ones_like(local[..., :1]), local), 2)
    shrinkage = 1e-3 * nearest.shape[1] * torch.eye(dim + 1, dtype=x.dtype, device=device)
    shrinkage[0, 0] = 0
    moments = design.transpose(1, 2) @ y[nearest][..., None]
    coefficients = torch.linalg.solve(design.transpose(1, 2) @ design + shrinkage, moments)
    error = coefficients[:, 0, 0] - y[tested]
    return 1 - float(error.square().mean() / y[tested].var(correction=0))


def persistence(features: Tensor) -> Tensor:
    """Correlation f64[D] of successive steps of features f64[E, T, D]; 0 where an episode has no two steps, or nothing moves."""
    step = features.diff(dim=1)
    if step.shape[1] < 2:
        return step.new_zeros(step.shape[2])
    return (step[:, 1:] * step[:, :-1]).mean((0, 1)) / step.square().mean((0, 1)).clamp(min=1e-30)


def steady_slowness(features: Tensor, slowness: Tensor) -> Tensor:
    """Slowness f64[D] of features f64[E, T, D] without an error in every frame: how much longer two steps are than one, halved.

    By mean squares, two steps are 2 + 2ρ as long as one, ρ being their correlation (`persistence`), so this is λ (1 + 2ρ): an
    error adds its variance to λ, takes half of that from λρ, and cancels. Things that held actions move have much the same ρ, so
    that their ratios are those of the things themselves. What rather undoes its steps (ρ < 0) is noise and keeps its slowness.
    """
    return slowness * (1 + 2 * persistence(features).clamp(min=0))


def spanning_features(features: Tensor, slowness: Tensor, generator: torch.Generator) -> list[int]:
    """Indices of the features f64[E, T, D] to keep, slowest first: each one that the kept ones before it do not already predict.

    A folded code holds functions of the state beside the state; they are nearly as slow, so no gap in the slowness tells them
    apart, but the state predicts them. What changes fast and does not go on as it changes is noise and never kept (one
    feature always is): speed alone does not tell noise from a hand or a finger that an action moves far.
    """
    moves = (slowness <= FASTEST) | (persistence(features) > PERSISTENT)
    kept = [0]
    for feature in moves.nonzero().flatten().tolist():
        if feature and neighbour_r2(features[..., kept], features[..., feature], generator) < EXPLAINED:
            kept.append(feature)
    return kept
