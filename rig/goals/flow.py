"""A normalising flow over codes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rig.goals.base import GoalSampler
from rig.goals.gaussian import cholesky_factor, moments, shares
from rig.nets import Adam, initialise
from rig.types import Report, need_covariance, silent

BATCH = 256
"""Codes that a gradient step sees."""
STRETCH = 2.0
"""Most by which a coupling's log-scale departs from zero, so that no code is ever thrown away to infinity."""


@dataclass(frozen=True)
class FlowConfig:
    """Settings of the flow."""

    name: str = "flow"
    layers: int = 6  # couplings; each moves one half of the coordinates by what the other half is, in turns
    width: int = 64  # units of the two hidden layers of each
    steps: int = 1500  # gradient steps
    learning_rate: float = 2e-3  # Adam; falls to a tenth


class Coupling(nn.Module):
    """y = x on the kept coordinates, y = x·exp(s) + t on the others, with s and t functions of the kept ones."""

    kept: Tensor

    def __init__(self, kept: Tensor, width: int) -> None:
        super().__init__()
        dim = len(kept)
        self.register_buffer("kept", kept, persistent=False)
        self.net = nn.Sequential(nn.Linear(dim, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2 * dim))

    def _scale_and_shift(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = (self.net(x * self.kept) * (1 - self.kept).repeat(2)).chunk(2, dim=1)
        return STRETCH * torch.tanh(log_scale / STRETCH), shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y f32[B, D] and log |dy/dx| f32[B]."""
        log_scale, shift = self._scale_and_shift(x)
        return x * log_scale.exp() + shift, log_scale.sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """x f32[B, D]."""
        log_scale, shift = self._scale_and_shift(y)  # the kept coordinates are the same before and after
        return (y - shift) * (-log_scale).exp()


class Flow(GoalSampler):
    """Affine couplings that turn whitened codes into N(0, I): a density of any shape, drawn from as easily as a Gaussian.

    Raises ValueError for codes of more than 2,048 numbers. Source: Dinh et al. 2017 (Real NVP, arXiv:1605.08803), eq. 6-8.
    """

    Config = FlowConfig
    mean: Tensor
    cholesky: Tensor

    def __init__(self, config: FlowConfig, latent_dim: int) -> None:
        need_covariance(latent_dim, "goals=replayed")
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("cholesky", torch.eye(latent_dim))
        even = (torch.arange(latent_dim) % 2).float()
        self.couplings = nn.ModuleList(Coupling(even if n % 2 else 1 - even, config.width) for n in range(config.layers))

    def fit(self, latent: Tensor, weight: Tensor | None = None, report: Report = silent) -> None:
        """Maximum likelihood by gradient from the full Gaussian on codes f32[M, D], weighted by f64[M]; drawn always alike."""
        counts, device = shares(latent, weight), latent.device
        mean, covariance = moments(latent, counts)
        self.mean.copy_(mean)
        self.cholesky.copy_(cholesky_factor(covariance))
        self.couplings.cpu()
        initialise(self.couplings, torch.Generator().manual_seed(0))
        self.couplings.to(device)
        for module in self.couplings:
            last: nn.Linear = module.get_submodule("net.4")  # pyright: ignore[reportAssignmentType]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        always = torch.Generator(device).manual_seed(0)
        descent = Adam(self.couplings.parameters(), self.config.learning_rate, anneal=self.config.steps)
        white = self._whiten(latent)
        for step in range(self.config.steps):
            rows = torch.multinomial(counts, BATCH, replacement=True, generator=always)
            descent.minimise(-self._log_white(white[rows]).mean())
            report(step + 1, self.config.steps, {})

    def _whiten(self, latent: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self.cholesky, (latent - self.mean).T, upper=False).T

    def _log_white(self, x: Tensor) -> Tensor:
        """log density f32[B] of whitened codes f32[B, D]."""
        total = torch.zeros(len(x), device=x.device)
        for coupling in self.couplings:
            x, log_det = coupling(x)
            total = total + log_det
        return total - 0.5 * x.square().sum(1) - 0.5 * x.shape[1] * math.log(2 * math.pi)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw imagined goals f32[count, D]."""
        x = torch.randn((count, len(self.mean)), generator=generator, device=self.mean.device)
        for coupling in reversed(self.couplings):
            x = coupling.inverse(x)  # pyright: ignore[reportCallIssue]
        return self.mean + x @ self.cholesky.T

    @torch.no_grad()
    def log_prob(self, latent: Tensor) -> Tensor:
        """log p(z) in nats, f32[B]."""
        return self._log_white(self._whiten(latent)) - self.cholesky.diagonal().log().sum()
