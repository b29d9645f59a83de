"""Principal components of frozen features: the code of the encoders that train no net."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rig.errors import UserError

MOST = 2048
"""Frames that a fit looks at: a few axes need no more, and the time goes with their cube."""


def sampled(frames: Tensor, generator: torch.Generator) -> Tensor:
    """`MOST` of frames u8[M, H, W, 3], drawn without replacement, or all of fewer."""
    return frames[torch.randperm(len(frames), generator=generator, device=frames.device)[:MOST]]


def principal_axes(centred: Tensor, count: int) -> Tensor:
    """The `count` orthonormal axes f64[F, count] along which centred rows f64[M, F] vary most, the largest first.

    The entry of an axis that is largest in size is above 0, so that the same rows always give the same axes. An axis along which
    nothing varies is 0. Source: where there are fewer rows than features, by way of M×M products (Turk & Pentland 1991).
    """
    if centred.shape[1] <= len(centred):
        variance, axes = torch.linalg.eigh(centred.T @ centred)
    else:
        variance, rows = torch.linalg.eigh(centred @ centred.T)
        axes = nn.functional.normalize(centred.T @ rows, dim=0)
    variance, axes = variance.flip(0)[:count], axes.flip(1)[:, :count]
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return axes * largest.sign() * (variance > 1e-12 * variance[0])


class PCA(nn.Module):
    """Features f32[B, F] to codes f32[B, D]: their mean taken off, projected onto axes, and divided by one scale.

    One scale serves all components, so that distances keep their proportions: it makes the root mean square of the codes 1 on
    the frames of the fit. `components` = 0 leaves out the projection. Raises ValueError where they are more than the features.
    """

    mean: Tensor
    axes: Tensor
    scale: Tensor

    def __init__(self, features: int, components: int) -> None:
        super().__init__()
        if components > features:
            raise ValueError(
                f"encoder.latent_dim must be at most the number of features, {features}, got {components}; "
                f"try encoder.latent_dim={features}"
            )
        self.components = components
        self.dim = components or features
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("axes", torch.eye(features, self.dim))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, features: Tensor) -> None:
        """Take mean, axes and scale from features f32[M, F], in float64.

        Raises UserError where the frames are too few, or all the same.
        """
        if len(features) <= self.components:
            raise UserError(
                f"encoder.latent_dim={self.components} needs more frames than that, got {len(features)}; "
                f"try encoder.latent_dim={len(features) - 1}, or a larger collect.frames"
            )
        rows = features.double()
        mean = rows.mean(0)
        codes = rows - mean
        if self.components:
            axes = principal_axes(codes, self.components)
            self.axes.copy_(axes)
            codes = codes @ axes
        scale = codes.square().mean().sqrt()
        if scale == 0:
            raise UserError("every training frame has the same features: the camera sees nothing that moves; see `rig doctor`")
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def forward(self, features: Tensor) -> Tensor:
        """Codes f32[B, D]."""
        return (features - self.mean) @ self.axes / self.scale
