"""Per-pixel standardisation: what lets an encoder see small things that move before a background that does not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rig.errors import UserError


class Standardise(nn.Module):
    """Per-pixel standardisation x̃ = (x - mean) / sqrt(std² + (½·rms std)²), x in [0, 1].

    A scene's background is constant: without this it dominates the squared error and small movers are never learnt. The floor
    (half the root mean square of all pixels' std) keeps pixels that hardly change from being blown up.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, frame_shape: tuple[int, int, int]) -> None:
        super().__init__()
        height, width, channels = frame_shape
        self.register_buffer("mean", torch.zeros(channels, height, width))
        self.register_buffer("scale", torch.ones(channels, height, width))

    def fit(self, frames: Tensor, standardise: bool = True) -> None:
        """Take mean and scale from frames u8[M, H, W, 3], or without `standardise` let x̃ = x.

        Raises UserError where no pixel ever changes.
        """
        # In whole numbers, which cancel exactly: rounding would give a constant picture a little variance to be blown up.
        total = torch.zeros(frames.shape[1:], dtype=torch.int64, device=frames.device)
        squares = torch.zeros_like(total)
        for chunk in frames.split(512):
            total += chunk.sum(0)
            squares += chunk.to(torch.int32).square().sum(0)
        mean = total.double() / (255 * len(frames))
        variance = (len(frames) * squares - total.square()).double() / (255 * len(frames)) ** 2
        if variance.max() == 0:
            raise UserError(
                "every training frame is the same picture: the camera sees nothing that moves, or the renderer draws nothing; "
                "see `rig doctor`, or try the other of render=warp and render=gl"
            )
        if not standardise:
            self.mean.zero_()
            self.scale.fill_(1)
            return
        self.mean.copy_(mean.permute(2, 0, 1))
        self.scale.copy_((variance + 0.25 * variance.mean()).sqrt().permute(2, 0, 1))

    def forward(self, frames: Tensor) -> Tensor:
        """Frames u8[B, H, W, 3] to f32[B, 3, H, W], standardised."""
        return self.scaled(frames.permute(0, 3, 1, 2).to(torch.float32).div_(255))

    def scaled(self, pixels: Tensor) -> Tensor:
        """Pixels in [0, 1], f32[B, 3, H, W], standardised."""
        return (pixels - self.mean) / self.scale

    def pixels(self, x: Tensor) -> Tensor:
        """Standardised f32[B, 3, H, W] to pixels f32[B, 3, H, W], in [0, 1] where they were of a picture."""
        return x * self.scale + self.mean

    def invert(self, x: Tensor) -> Tensor:
        """Standardised f32[B, 3, H, W] to frames u8[B, H, W, 3]."""
        return self.pixels(x).clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1)
