"""What the variational autoencoders here share: the evidence bound, its training, and the density that it gives."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from rig.encoders.base import Encoder, in_chunks
from rig.encoders.posterior import Posterior, log_standard_normal
from rig.encoders.standardise import Standardise
from rig.encoders.training import Training, descend
from rig.nets import mixed_precision
from rig.types import Report


@dataclass(frozen=True)
class VAETraining(Training):
    """How a β-VAE is trained."""

    beta: float = 10.0  # weight of the KL against the summed squared error of standardised pixels
    anneal: int = 0  # gradient steps over which beta rises linearly from zero
    kl_tolerance: float = 0.0  # nats a latent up to which a frame's KL costs nothing more
    standardise: bool = True  # errors are of pixels standardised one by one; false: of pixels in [0, 1]


class VAE(Encoder):
    """A β-VAE: a concrete one adds its networks and says what `posterior` and `reconstruct` are."""

    can_decode = True
    has_density = True

    def __init__(self, frame_shape: tuple[int, int, int], training: VAETraining, likelihood: str = "gaussian") -> None:
        super().__init__()
        self.standardise = Standardise(frame_shape)
        self.training_settings = training
        self.bernoulli = likelihood == "bernoulli"

    @abstractmethod
    def posterior(self, x: Tensor) -> Posterior:
        """q(z|x) of standardised frames f32[B, 3, H, W]."""

    @abstractmethod
    def reconstruct(self, latent: Tensor) -> Tensor:
        """Standardised mean pictures f32[B, 3, H, W] of codes f32[B, D]; of a Bernoulli likelihood, the logits of the means."""

    def error(self, pictures: Tensor, x: Tensor) -> Tensor:
        """-2 log p(x|z), but for a constant, f32[B], of what `reconstruct` made, with unit variance of what the bound is of.

        *Summed* over pixels and channels of a frame, never averaged (Kingma & Welling 2014, eq. 10). Of pixels in [0, 1] as
        Bernoulli variables it is twice the cross-entropy (same source, appendix C.1).
        """
        pictures = pictures.float()
        if self.bernoulli:
            pixels = self.standardise.pixels(x).clamp(0, 1)
            return 2 * binary_cross_entropy_with_logits(pictures, pixels, reduction="none").sum((1, 2, 3))
        return (pictures - x).square().sum((1, 2, 3))

    def losses(self, x: Tensor, beta: float, generator: torch.Generator) -> dict[str, Tensor]:
        """What a minibatch of standardised frames f32[B, 3, H, W] costs: Σ_pixels (x̃ - x̂)² + β·max(KL, tolerance), averaged.

        Unit-variance Gaussian likelihood carries a factor ½, so β = 2 is the evidence lower bound. RIG's published β = 20 (push)
        stands against an error scaled otherwise; for pixels x in [0, 1] its clean equivalent is Σ(x - x̂)² + 0.156·KL.
        Standardising pixels divides the error by their variance: at a typical std of 0.1 that is 0.156 / 0.1² ≈ 16 here.
        Source: Kingma & Welling 2014, eq. 10; Higgins et al. 2017, eq. 4; the tolerance: Ha & Schmidhuber 2018, published code.
        """
        training = self.training_settings
        with mixed_precision(training.precision, x.device):
            posterior = self.posterior(x)
        noise = torch.randn(posterior.mean.shape, generator=generator, device=x.device)
        sample = posterior.sample(noise)
        with mixed_precision(training.precision, x.device):
            pictures = self.reconstruct(sample)
        reconstruction, kl = self.error(pictures, x).mean(), posterior.kl()
        charged = kl.clamp(min=training.kl_tolerance * noise.shape[1]).mean()
        return {"reconstruction": reconstruction, "kl": kl.mean(), "loss": reconstruction + beta * charged}

    def fit(self, episodes: Tensor, generator: torch.Generator, report: Report) -> dict[str, float]:
        """See Encoder."""
        frames = episodes.flatten(0, 1)
        self.standardise.fit(frames, self.training_settings.standardise)
        return self.train_on(frames, self.training_settings, generator, report)

    def refit(
        self, observed: Tensor, weight: Tensor | None, steps: int, generator: torch.Generator, report: Report
    ) -> dict[str, float]:
        """Train on from these weights; the standardisation stays, or the same frame would look otherwise to the same weights."""
        return self.train_on(observed, replace(self.training_settings, steps=steps, anneal=0), generator, report, weight)

    def train_on(
        self, frames: Tensor, training: VAETraining, generator: torch.Generator, report: Report, weight: Tensor | None = None
    ) -> dict[str, float]:
        """Minimise `losses` over frames u8[M, H, W, 3] from the present weights and standardisation; the closing metrics."""

        def loss(index: Tensor, step: int) -> dict[str, Tensor]:
            beta = training.beta * min(1.0, (step + 1) / max(1, training.anneal))
            return self.losses(self.standardise(frames[index]), beta, generator)

        metrics = descend(self, loss, len(frames), training, generator, report, weight)
        self.version += 1
        return metrics

    @torch.no_grad()
    def log_density(self, observed: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        """log p(x) in nats, f32[B], of frames u8[B, H, W, 3]: log of the mean over z ~ q(z|x) of p(x|z) p(z) / q(z|x).

        p(x|z) has unit variance for pixels in [0, 1], and is left without its constant, the same for every frame.
        Source: Pong et al. 2019, appendix C.1, and their published code, which averages the logarithm instead.
        """
        found: list[Tensor] = []
        for chunk in observed.split(128):
            x = self.standardise(chunk)
            posterior = self.posterior(x)
            noise = torch.randn((samples, *posterior.mean.shape), generator=generator, device=x.device)
            z = posterior.sample(noise)
            pictures = self.reconstruct(z.flatten(0, 1)).unflatten(0, (samples, len(chunk)))
            error = torch.stack([self.pixel_error(each, x) for each in pictures])
            log_ratio = log_standard_normal(z) - posterior.log_prob(noise)
            found.append((log_ratio - 0.5 * error).logsumexp(0) - math.log(samples))
        return torch.cat(found)

    @torch.no_grad()
    def posterior_covariance(self, observed: Tensor) -> Tensor:
        """See Encoder."""
        return in_chunks(lambda chunk: self.posterior(self.standardise(chunk)).covariance(), observed).mean(0)

    def pixel_error(self, pictures: Tensor, x: Tensor) -> Tensor:
        """As `error`, of pixels in [0, 1] whether the bound standardises them or not."""
        if self.bernoulli:
            return self.error(pictures, x)
        return ((pictures - x) * self.standardise.scale).square().sum((1, 2, 3))

    @torch.no_grad()
    def encode(self, observed: Tensor) -> Tensor:
        """See Encoder."""
        return in_chunks(lambda chunk: self.posterior(self.standardise(chunk)).mean, observed)

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        """See Encoder."""
        pictures = self.reconstruct(latent)
        return self.standardise.invert(self.standardise.scaled(pictures.sigmoid()) if self.bernoulli else pictures)
