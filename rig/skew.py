"""Skew-Fit: visited frames weighted by a power of their density, so that what was seen rarely counts for more."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rig.encoders.base import Encoder
from rig.goals.replayed import kernel_log_density


@dataclass(frozen=True)
class SkewConfig:
    """How visited frames are weighted. Source: Pong et al. 2019 (arXiv:1903.03698), section 3.1, w ∝ p(x)^power."""

    power: float = 0.0  # of a frame's density; 0: all weigh alike [Pong et al. 2019: -1 push and pickup, -0.5 door]
    density: str = "frame"  # of what: frame: p(x), the encoder's [Pong et al. 2019] | coordinates: of the agent's
    samples: int = 10  # codes drawn from the posterior to estimate a frame's density [Pong et al. 2019: 10]
    share: float = 0.1  # least effective share of the frames: a power that leaves less is brought nearer to 0 until it does not


ALIKE = SkewConfig()
"""The default: no frame weighs more than another."""
KERNELS = 4096
"""Most frames whose coordinates carry a kernel: evenly spaced among all."""


def asks_encoder(skew: SkewConfig, encoder: Encoder) -> bool:
    """Whether p is the encoder's own, of an observation, and not one of agent coordinates."""
    return encoder.has_density and skew.density == "frame"


def log_density(
    skew: SkewConfig, encoder: Encoder, observed: Tensor, coordinates: Tensor, generator: torch.Generator
) -> Tensor:
    """log p in nats, up to a constant, f64[M], of observations [M, …] with agent coordinates f32[M, K].

    The encoder's own density of an observation; where that is not wanted, or it has none, a kernel density estimate on the agent
    coordinates: a code has directions that tell of nothing, and in all of them together every frame is far from every other.
    """
    if asks_encoder(skew, encoder):
        return encoder.log_density(observed, skew.samples, generator).double()
    some = torch.linspace(0, len(coordinates) - 1, min(KERNELS, len(coordinates)), device=coordinates.device).long()
    return kernel_log_density(coordinates[some], coordinates).double()


def frame_weights(
    skew: SkewConfig, encoder: Encoder, observed: Tensor, coordinates: Tensor, generator: torch.Generator
) -> Tensor | None:
    """Weights f64[M], of sum 1, of observations [M, …] with agent coordinates f32[M, K]: see `weights`.

    None where all weigh alike; then nothing is drawn.
    """
    if skew.power == 0:
        return None
    return weights(skew.power * log_density(skew, encoder, observed, coordinates, generator), skew.share)


def weights(log_weight: Tensor, share: float) -> Tensor:
    """Weights f64[M], of sum 1, from logarithms f64[M] times the largest number up to 1 that leaves `share` of them effective.

    A picture has thousands of pixels, so that the densities of two frames differ by factors that leave all weight to one of
    them: what is estimated from it would be that frame. Computed from differences to the largest logarithm, which no power of
    a density overflows. Source of the measure: Kong 1992; of choosing a power by it: Del Moral et al. 2012.
    """
    log_weight = log_weight - log_weight.max()
    low, high = 0.0, 1.0
    if float(effective_share(log_weight.softmax(0))) < share:
        for _ in range(40):
            middle = (low + high) / 2
            if float(effective_share((middle * log_weight).softmax(0))) < share:
                high = middle
            else:
                low = middle
        return (low * log_weight).softmax(0)
    return log_weight.softmax(0)


def effective_share(weight: Tensor) -> Tensor:
    """Share of frames, f64[], that would tell as much if they weighed alike: 1 / (M Σ w²) of weights f64[M] of sum 1."""
    return 1 / (len(weight) * weight.square().sum())
