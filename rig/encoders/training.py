"""The training loop that every encoder learns by, and how it draws its minibatches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rig.tensors import fetched
from rig.types import Report

Loss = Callable[[Tensor, int], dict[str, Tensor]]
"""(rows i64[batch], gradient step) -> 0-d metrics, of which "loss" is what is minimised."""


@dataclass(frozen=True)
class Training:
    """How an encoder is trained."""

    steps: int = 2000  # gradient steps; a hand alone needs half of them
    batch: int = 64  # frames a step
    learning_rate: float = 1e-3  # Adam; falls to zero along a cosine over the last half
    precision: str = "auto"  # of the training's convolutions: float32 | bfloat16 | auto: bfloat16 where the hardware has it


def learning_rate_share(step: int, steps: int) -> float:
    """One for the first half of training, then a cosine down to zero."""
    late = max(0.0, 2 * step / steps - 1)
    return 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * late))))


def minibatches(count: int, batch: int, steps: int, generator: torch.Generator, device: torch.device) -> Iterator[Tensor]:
    """Indices i64[batch] of `steps` minibatches, from passes over a shuffled set of `count` rows."""
    order = torch.empty(0, dtype=torch.int64, device=device)
    for _ in range(steps):
        while len(order) < batch:
            order = torch.cat((order, torch.randperm(count, generator=generator, device=device)))
        yield order[:batch]
        order = order[batch:]


def weighted_draws(weight: Tensor, batch: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Indices i64[batch] of `steps` minibatches, drawn with replacement by weights f64[M]."""
    for _ in range(steps):
        yield torch.multinomial(weight, batch, replacement=True, generator=generator)


@dataclass(frozen=True)
class Pairs:
    """Pairs of frames of one episode, from `least` to `most` steps apart, or as far apart as an episode is long."""

    episodes: Tensor
    """u8[E, T, H, W, 3], consecutive along T, which is at least 2."""
    least: int
    most: int

    @property
    def starts(self) -> int:
        """Frames of an episode that another follows at that distance."""
        length = self.episodes.shape[1]
        return length - min(self.least, length - 1)

    @property
    def count(self) -> int:
        """How many frames can be a pair's first."""
        return len(self.episodes) * self.starts

    def draw(self, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The first frames u8[B, H, W, 3] of pairs at rows i64[B] below `count`, later ones, and the steps between, f32[B]."""
        length = self.episodes.shape[1]
        episode, first = rows // self.starts, rows % self.starts
        least, furthest = length - self.starts, (length - 1 - first).clamp(max=self.most)
        share = torch.rand(rows.shape, generator=generator, device=rows.device)
        gap = (least + (share * (furthest - least + 1)).long()).clamp(max=furthest)
        return self.episodes[episode, first], self.episodes[episode, first + gap], gap.float()


def descend(
    module: nn.Module, loss: Loss, count: int, training: Training, generator: torch.Generator, report: Report,
    weight: Tensor | None = None,
) -> dict[str, float]:  # fmt: skip
    """Minimise `loss` over minibatches of `count` rows, drawn by passes over them or by `weight` f64[M]; the closing metrics.

    Raises FloatingPointError where the loss is not finite.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if weight is None:
        indices = minibatches(count, training.batch, training.steps, generator, parameters[0].device)
    else:
        indices = weighted_draws(weight, training.batch, training.steps, generator)
    optimiser = torch.optim.Adam(parameters, lr=training.learning_rate, fused=True)
    metrics: dict[str, float] = {}
    for step, index in enumerate(indices):
        for group in optimiser.param_groups:
            group["lr"] = training.learning_rate * learning_rate_share(step, training.steps)
        found = loss(index, step)
        optimiser.zero_grad()
        found["loss"].backward()
        optimiser.step()
        if step % 25 == 0 or step == training.steps - 1:
            metrics = fetched({name: value.detach() for name, value in found.items()})
            if not math.isfinite(metrics["loss"]):
                raise FloatingPointError(f"encoder loss is {metrics['loss']} at gradient step {step}")
            report(step + 1, training.steps, metrics)
    return metrics
