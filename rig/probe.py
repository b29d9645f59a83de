"""The standing measure of what an encoder sees: how well a small regressor reads each state factor off its codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from rig.nets import initialise
from rig.types import WIDEST


class Probe(NamedTuple):
    """How well codes tell one state factor, on the fifth of the data that the regressor never saw."""

    r2: float
    """Coefficient of determination; 1 is perfect, 0 no better than the mean."""
    median_error: float
    """Median absolute error, in the factor's unit."""
    linear_r2: float
    """The same R² for linear least squares: near `r2` where the code is not folded."""


def active_units(latent: Tensor) -> int:
    """How many latents of codes f32[M, D] carry information: a variance above 0.01 (Burda et al. 2016)."""
    return int((latent.var(0) > 0.01).sum())


def _r2(error: Tensor, truth: Tensor) -> Tensor:
    return 1 - error.square().mean(0) / truth.var(0, correction=0).clamp(min=1e-12)


COMPONENTS = 256
"""Principal components by which codes that are as long as a picture are judged."""
LOOKED_AT = 1024
"""Most rows that these are taken from."""


def shortened(codes: Tensor, seen: Tensor) -> Tensor:
    """Codes f32[B, D], or where longer than `WIDEST`, their first principal components f32[B, K] in those seen f32[M, D]."""
    if codes.shape[1] <= WIDEST:
        return codes
    some = seen[torch.linspace(0, len(seen) - 1, min(LOOKED_AT, len(seen)), device=seen.device).long()]
    mean = some.mean(0)
    variance, rows = torch.linalg.eigh(((some - mean) @ (some - mean).T).double())
    axes = (some - mean).T @ (rows / variance.clamp(min=1e-12).sqrt())[:, -COMPONENTS:].float()
    return (codes - mean) @ axes


def standardised(codes: Tensor, seen: Tensor) -> Tensor:
    """Codes f32[B, D] in the mean and deviation of those seen f32[M, D].

    No deviation counts as less than a tenth of the root mean square of all: pixels that changed once would be blown up.
    """
    deviation = seen.std(0)
    floor = 0.1 * deviation.square().mean().sqrt().clamp(min=1e-5)
    return (codes - seen.mean(0)) / deviation.maximum(floor)


def perceptron(
    x: Tensor, y: Tensor, rows: Tensor, loss: Callable[[Tensor, Tensor], Tensor], generator: torch.Generator, steps: int
) -> nn.Module:
    """A 2 x 256 perceptron with SiLU units, trained to lessen loss(its outputs, y) on `rows` i64[R].

    Inputs f32[M, D], near unit variance, to outputs like y f32[M, K]. Adam with a cosine to zero, batch 256.
    """
    net = nn.Sequential(
        nn.Linear(x.shape[1], 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, y.shape[1])
    ).to(x.device)  # fmt: skip
    initialise(net, generator)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        batch = rows[torch.randint(len(rows), (256,), generator=generator, device=x.device)]
        optimiser.zero_grad()
        loss(net(x[batch]), y[batch]).backward()
        optimiser.step()
        schedule.step()
    return net


def probe(latent: Tensor, state: Tensor, generator: torch.Generator, steps: int = 3000) -> list[Probe]:
    """Probe codes f32[M, D] for each of the S dimensions of the states f32[M, S] that were filmed.

    A perceptron, trained on 80 % and judged on the rest; inputs and outputs standardised. Evaluation only: nothing of it reaches
    an agent.
    """
    order = torch.randperm(len(latent), generator=generator, device=latent.device)
    train, test = order[: len(order) * 4 // 5], order[len(order) * 4 // 5 :]
    latent = shortened(latent, latent[train])
    x = standardised(latent, latent[train])
    shift, scale = state[train].mean(0), state[train].std(0).clamp(min=1e-6)
    y = (state - shift) / scale
    net = perceptron(x, y, train, mse_loss, generator, steps)
    with torch.no_grad():
        error = net(x[test]) - y[test]
    found = _linear_r2(x, y, train, test)
    median = error.abs().median(0).values * scale
    return [Probe(float(a), float(b), float(c)) for a, b, c in zip(_r2(error, y[test]), median, found, strict=True)]


def _linear_r2(x: Tensor, y: Tensor, train: Tensor, test: Tensor) -> Tensor:
    design = torch.cat((x, torch.ones_like(x[:, :1])), 1)
    # On the CPU: the only driver there is on CUDA takes codes for of full rank, and those of symbols never are.
    fit = torch.linalg.lstsq(design[train].cpu(), y[train].cpu(), driver="gelsd").solution.to(x.device)
    return _r2(design[test] @ fit - y[test], y[test])


def linear_r2(latent: Tensor, state: Tensor) -> list[float]:
    """R² of least squares from codes f32[M, D] to each of the S state dimensions f32[M, S], on the last fifth of the rows."""
    rows = torch.arange(len(latent), device=latent.device)
    cut = len(latent) * 4 // 5
    latent = shortened(latent, latent[:cut])
    return _linear_r2(latent, state, rows[:cut], rows[cut:]).tolist()
