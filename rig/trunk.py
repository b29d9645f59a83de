"""Convolutions over whole pictures, that a learner trains by what its critics get wrong."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

KERNEL = 3


class Trunk(nn.Module):
    """Four convolutions and a layer of features, over codes f32[B, C·H·W]: pictures of `shape` (H, W, C), laid out [C, H, W].

    A learner that is given one puts it before its actor and critics. Only the critics' error trains it, and in updates every
    picture is moved by up to `shift` pixels, which keeps the critics from learning single pictures by heart.
    Source: Yarats et al. 2021 (DrQ, arXiv:2004.13649), section 4 and appendix B (one shift a picture: K = M = 1); that features
    of the next picture come from the same weights: Yarats et al. 2022 (DrQ-v2, arXiv:2107.09645), section 3.1.
    """

    def __init__(
        self, shape: tuple[int, int, int], width: int, features: int, shift: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        height, columns, channels = shape
        self.picture, self.features, self.shift = (channels, height, columns), features, shift
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, width, KERNEL, stride=2), nn.ReLU(),
            nn.Conv2d(width, width, KERNEL), nn.ReLU(),
            nn.Conv2d(width, width, KERNEL), nn.ReLU(),
            nn.Conv2d(width, width, KERNEL), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        rows, columns = (after_convolutions(side) for side in (height, columns))
        self.head = nn.Sequential(nn.Linear(width * rows * columns, features), nn.LayerNorm(features), nn.Tanh())
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                gain = math.sqrt(2) if isinstance(layer, nn.Conv2d) else 1.0
                nn.init.orthogonal_(layer.weight, gain, generator)
                nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]  these have one

    def forward(self, code: Tensor) -> Tensor:
        """Features f32[B, F] of codes f32[B, C·H·W]."""
        return self.head(self.convolutions(code.unflatten(1, self.picture))).float()

    def shifted(self, code: Tensor, generator: torch.Generator) -> Tensor:
        """Codes f32[B, C·H·W] whose pictures are each moved at random; what comes in at an edge repeats the edge."""
        channels, height, columns = self.picture
        by = torch.randint(-self.shift, self.shift + 1, (2, len(code), 1), generator=generator, device=code.device)
        down, across = (torch.arange(side, device=code.device) for side in (height, columns))
        row, column = (down + by[0]).clamp(0, height - 1), (across + by[1]).clamp(0, columns - 1)
        place = (row[:, :, None] * columns + column[:, None, :]).flatten(1)
        pictures = code.unflatten(1, (channels, height * columns))
        return pictures.gather(2, place[:, None].expand_as(pictures)).flatten(1)


def after_convolutions(side: int) -> int:
    """Pixels a side that are left of `side`. Raises ValueError where nothing is."""
    left = (side - KERNEL) // 2 + 1 - 3 * (KERNEL - 1)
    if left < 1:
        raise ValueError(f"its convolutions leave nothing of a picture of {side} pixels a side; try task.size=48")
    return left
