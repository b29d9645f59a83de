"""What every β-VAE here shares: the per-pixel standardisation, the evidence bound, and the training loop."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from rig.encoders.base import Encoder, Report
from rig.errors import UserError
from rig.nets import mixed_precision


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

    def invert(self, x: Tensor) -> Tensor:
        """Standardised f32[B, 3, H, W] to frames u8[B, H, W, 3]."""
        pixels = (x * self.scale + self.mean).clamp(0, 1).mul(255).round()
        return pixels.to(torch.uint8).permute(0, 2, 3, 1)


@dataclass(frozen=True)
class VAETraining:
    """How a β-VAE is trained."""

    steps: int = 2000  # gradient steps; a hand alone needs half of them
    batch: int = 64  # frames a step
    learning_rate: float = 1e-3  # Adam; falls to zero along a cosine over the last half
    beta: float = 10.0  # weight of the KL against the summed squared error of standardised pixels
    anneal: int = 0  # gradient steps over which beta rises linearly from zero
    kl_tolerance: float = 0.0  # nats a latent up to which a frame's KL costs nothing more
    standardise: bool = True  # errors are of pixels standardised one by one; false: of pixels in [0, 1]
    precision: str = "auto"  # of the training's convolutions: float32 | bfloat16 | auto: bfloat16 where the hardware has it


def diagonal_gaussian(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance f32[B, D], within what a float's exponential bears, of a net's output f32[B, 2D]."""
    mean, log_variance = parameters.chunk(2, dim=1)
    return mean, log_variance.clamp(-12, 4)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, diag σ²) ‖ N(0, I)) in nats of each latent, f32[B, D], in closed form (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


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


def fit_vae(
    frames: Tensor,
    standardise: Standardise,
    modules: list[nn.Module],
    posterior: Callable[[Tensor], tuple[Tensor, Tensor]],
    reconstruct: Callable[[Tensor], Tensor],
    training: VAETraining,
    generator: torch.Generator,
    report: Report,
    *,
    weight: Tensor | None = None,
    anew: bool = True,
) -> dict[str, float]:
    """Minimise Σ_pixels (x̃ - x̂)² + β·max(KL, tolerance) over frames u8[M, H, W, 3]; returns the closing metrics.

    Minibatches are passes over the frames, or draws by `weight` f64[M]; unless `anew`, the standardisation stays as it stands.

    The squared error is *summed* over pixels and channels of a frame, never averaged, and the batch's frames are averaged
    (Kingma & Welling 2014, eq. 10; Higgins et al. 2017, eq. 4). Unit-variance Gaussian likelihood carries a factor ½, so β = 2
    is the evidence lower bound. RIG's published β = 20 (push) stands against an error scaled otherwise; for pixels x in
    [0, 1] its clean equivalent is Σ(x - x̂)² + 0.156·KL. Standardising pixels divides the error by their variance: at a typical
    std of 0.1 that is 0.156 / 0.1² ≈ 16 here.
    """
    if anew:
        standardise.fit(frames, training.standardise)
    if weight is None:
        indices = minibatches(len(frames), training.batch, training.steps, generator, frames.device)
    else:
        indices = weighted_draws(weight, training.batch, training.steps, generator)
    parameters = [p for module in modules for p in module.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=training.learning_rate, fused=True)
    metrics: dict[str, float] = {}
    for step, index in enumerate(indices):
        for group in optimiser.param_groups:
            group["lr"] = training.learning_rate * learning_rate_share(step, training.steps)
        beta = training.beta * min(1.0, (step + 1) / max(1, training.anneal))
        x = standardise(frames[index]).contiguous()
        with mixed_precision(training.precision, frames.device):
            mean, log_variance = (part.float() for part in posterior(x))
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        sample = mean + (0.5 * log_variance).exp() * noise  # reparameterisation, Kingma & Welling 2014, section 2.4
        with mixed_precision(training.precision, frames.device):
            pictures = reconstruct(sample)
        reconstruction = (pictures.float() - x).square().sum() / len(x)
        kl = kl_to_standard_normal(mean, log_variance).sum(1)
        loss = reconstruction + beta * kl.clamp(min=training.kl_tolerance * mean.shape[1]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 25 == 0 or step == training.steps - 1:
            if not bool(torch.isfinite(loss)):
                raise FloatingPointError(f"encoder loss is {float(loss.detach())} at gradient step {step}")
            found = {"reconstruction": reconstruction, "kl": kl.mean(), "loss": loss}
            metrics = {name: float(value.detach()) for name, value in found.items()}
            report(step + 1, training.steps, metrics)
    return metrics


def active_units(mean: Tensor) -> int:
    """How many latents of codes f32[M, D] carry information: variance of the posterior mean above 0.01 (Burda et al. 2016)."""
    return int((mean.var(0) > 0.01).sum())


class VAE(Encoder):
    """A β-VAE: a concrete one adds its networks and says what `posterior` and `reconstruct` are."""

    can_decode = True
    has_density = True

    def __init__(self, frame_shape: tuple[int, int, int], training: VAETraining) -> None:
        super().__init__()
        self.standardise = Standardise(frame_shape)
        self.training_settings = training

    @abstractmethod
    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance f32[B, D] of q(z|x) for standardised frames f32[B, 3, H, W]."""

    @abstractmethod
    def reconstruct(self, latent: Tensor) -> Tensor:
        """Standardised mean pictures f32[B, 3, H, W] of codes f32[B, D]."""

    def fit(self, observed: Tensor, generator: torch.Generator, report: Report) -> dict[str, float]:
        """Train on frames u8[M, H, W, 3]; see `fit_vae` for the loss."""
        metrics = fit_vae(
            observed, self.standardise, [self], self.posterior, self.reconstruct, self.training_settings, generator, report
        )
        self.version += 1
        return {**metrics, "active_units": active_units(self.encode(observed))}

    def refit(
        self, observed: Tensor, weight: Tensor | None, steps: int, generator: torch.Generator, report: Report
    ) -> dict[str, float]:
        """Train on from these weights; the standardisation stays, or the same frame would look otherwise to the same weights."""
        training = replace(self.training_settings, steps=steps, anneal=0)
        metrics = fit_vae(
            observed, self.standardise, [self], self.posterior, self.reconstruct, training, generator, report,
            weight=weight, anew=False,
        )  # fmt: skip
        self.version += 1
        return metrics

    @torch.no_grad()
    def log_density(self, observed: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        """log p(x) in nats, f32[B], of frames u8[B, H, W, 3]: log of the mean over z ~ q(z|x) of p(x|z) p(z) / q(z|x).

        p(x|z) has unit variance for pixels in [0, 1]. Source: Pong et al. 2019, appendix C.1, and their published code, which
        averages the logarithm instead.
        """
        found: list[Tensor] = []
        for chunk in observed.split(128):
            x = self.standardise(chunk)
            mean, log_variance = self.posterior(x)
            noise = torch.randn((samples, *mean.shape), generator=generator, device=mean.device)
            z = mean + (0.5 * log_variance).exp() * noise
            picture = self.reconstruct(z.flatten(0, 1)).unflatten(0, (samples, len(chunk)))
            error = ((picture - x) * self.standardise.scale).square().sum((2, 3, 4))
            log_ratio = 0.5 * (noise.square() + log_variance - z.square()).sum(2)  # log p(z) - log q(z|x)
            found.append((log_ratio - 0.5 * error).logsumexp(0) - math.log(samples))
        return torch.cat(found)

    @torch.no_grad()
    def encode(self, observed: Tensor) -> Tensor:
        """Posterior means f32[B, D] of frames u8[B, H, W, 3]."""
        return torch.cat([self.posterior(self.standardise(chunk))[0] for chunk in observed.split(512)])

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        """Mean pictures u8[B, H, W, 3] of codes f32[B, D]."""
        return self.standardise.invert(self.reconstruct(latent))
