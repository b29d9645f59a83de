"""Plain modules: multilayer perceptrons, ensembles of them, and what they share. No algorithm in here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

FEW = 4
"""Outputs up to which a layer is a sum of products: a batched matrix product with so few columns takes a CPU several times as
long."""


class Ensemble(nn.Module):
    """K multilayer perceptrons of the same shape, evaluated together by batched matrix products.

    Hidden layers are Linear → (LayerNorm) → ReLU; the last layer is linear. Weights and biases start uniform in
    ±1/sqrt(fan_in), PyTorch's rule for linear layers, drawn from `generator`. Under autocast the first and the last layer stay in
    float32: they are thin, and a value of -20 in bfloat16's eight bits is off by up to 0.06, more than a step of reward.
    """

    def __init__(
        self, members: int, sizes: Sequence[int], *, layer_norm: bool = False, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.layer_norm = layer_norm
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.gains = nn.ParameterList()
        self.shifts = nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            bound = 1.0 / math.sqrt(fan_in)
            self.weights.append(torch.empty(members, fan_in, fan_out).uniform_(-bound, bound, generator=generator))
            self.biases.append(torch.empty(members, 1, fan_out).uniform_(-bound, bound, generator=generator))
        if layer_norm:
            for width in sizes[1:-1]:
                self.gains.append(torch.ones(members, 1, width))
                self.shifts.append(torch.zeros(members, 1, width))

    def forward(self, x: Tensor, members: int | None = None) -> Tensor:
        """Outputs f32[K, B, out] of inputs f32[B, in] (shared by all members); only the first `members` where given."""

        def kept(parameter: Tensor) -> Tensor:
            return parameter if members is None else parameter[:members]  # a slice of everything costs a copy of its gradient

        x = x.expand(len(kept(self.weights[0])), *x.shape)
        last, device = len(self.weights) - 1, x.device.type
        for layer in range(last + 1):
            weight, bias = kept(self.weights[layer]), kept(self.biases[layer])
            wide = 0 < layer < last
            with torch.autocast(device, enabled=wide and torch.is_autocast_enabled(device)):
                if wide:
                    x = torch.bmm(x, weight) + bias  # which compiled code adds on the way to what follows
                elif weight.shape[-1] <= FEW:
                    x = torch.stack([(x * column[:, None]).sum(-1) for column in weight.unbind(-1)], -1) + bias
                else:
                    x = torch.baddbmm(bias, x, weight)
            if layer < last:
                if self.layer_norm:
                    x = torch.addcmul(kept(self.shifts[layer]), torch.layer_norm(x, x.shape[-1:]), kept(self.gains[layer]))
                x = torch.relu_(x)
        return x


class ConvTranspose2d(nn.ConvTranspose2d):
    """PyTorch's, on channels-last memory, and with the bias's gradient as a sum of its own.

    On a CPU the library's own sum of that gradient takes half as long to as long as its other two gradients together.
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Pictures f32[B, C, H, W] to larger ones; bfloat16 under autocast."""
        if output_size is not None:
            raise ValueError("the output's size follows from output_padding; output_size is not used here")
        device = input.device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else input.dtype
        x = input.to(kind, memory_format=torch.channels_last)
        bias = None if self.bias is None else self.bias.to(kind)
        return _Transposed.apply(x, self.weight.to(kind), bias, self.stride, self.padding, self.output_padding)


class _Transposed(torch.autograd.Function):
    """A transposed convolution, see `ConvTranspose2d`."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        x, weight, bias, *ctx.shape = given
        ctx.save_for_backward(x, weight)
        return nn.functional.conv_transpose2d(x, weight, bias, *ctx.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        stride, padding, output_padding = ctx.shape
        of_x, of_weight, of_bias, *_ = ctx.needs_input_grad
        found = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, stride, padding, (1, 1), True, output_padding, 1, (of_x, of_weight, False)
        )
        return found[0], found[1], gradient.sum((0, 2, 3)) if of_bias else None, None, None, None


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Redraw every linear and convolutional layer from `generator`, by PyTorch's own rule (uniform ±1/sqrt(fan_in))."""
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            fan_in, _ = nn.init._calculate_fan_in_and_fan_out(layer.weight)  # pyright: ignore[reportPrivateUsage]
            bound = 1.0 / math.sqrt(fan_in)
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


def trains_in_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether a setting of precision means bfloat16 on this device. Raises ValueError for a precision that is none."""
    if precision not in ("auto", "float32", "bfloat16"):
        raise ValueError(f"precision must be auto, float32 or bfloat16, got {precision!r}")
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()  # pyright: ignore[reportPrivateUsage]  no public name for it yet


def mixed_precision(precision: str, device: torch.device) -> torch.autocast:
    """What matrix products and convolutions run under; raises ValueError for a precision that is none."""
    return torch.autocast(device.type, torch.bfloat16, enabled=trains_in_bfloat16(precision, device))


def polyak_update(target: nn.Module, online: nn.Module, polyak: float) -> None:
    """target ← (1 - polyak)·target + polyak·online, in place and without gradient."""
    with torch.no_grad():
        torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), polyak)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


class Moments(nn.Module):
    """What Adam remembers of one parameter."""

    step: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor

    def __init__(self, parameter: Tensor) -> None:
        super().__init__()
        self.register_buffer("step", torch.zeros((), device=parameter.device))
        self.register_buffer("exp_avg", torch.zeros_like(parameter, requires_grad=False))
        self.register_buffer("exp_avg_sq", torch.zeros_like(parameter, requires_grad=False))


class Adam(nn.ModuleList):
    """Adam (Kingma & Ba 2015) for a learner, with its memory as buffers.

    So `state_dict` of the learner holds it, and the whole step can be compiled and captured, which `torch.optim.Adam` hinders.
    Over `anneal` steps the learning rate falls linearly to a tenth, where it stays; with 0 it never falls.
    """

    BETAS, EPSILON = (0.9, 0.999), 1e-8
    step_size: Tensor
    """f32[together], the next steps' learning rate over 1 - β1^t, worked out by `prepare`. The steps before leave it and `scale`
    behind: compiled code would work them out anew for every few parameters."""
    scale: Tensor
    """f32[together], the next steps' 1 / sqrt(1 - β2^t)."""

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float, anneal: int = 0, together: int = 1) -> None:
        self.trained: list[Tensor] = list(parameters)
        self.learning_rate, self.anneal = learning_rate, anneal
        super().__init__([Moments(parameter) for parameter in self.trained])
        for name in ("step_size", "scale"):
            self.register_buffer(name, torch.zeros(together, device=self.trained[0].device), persistent=False)
        self.register_load_state_dict_post_hook(_loaded)
        self.prepare()

    def minimise(self, loss: Tensor, nth: int | None = None) -> None:
        """One step down the gradient of a loss f32[].

        Where a compiled graph has up to `together` of them, `nth` says which this is, 0 for the first, and `prepare` is left to
        be called after the last.
        """
        self.step(torch.autograd.grad(loss, self.trained), nth or 0)
        if nth is None:
            self.prepare()

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], nth: int) -> None:
        """One step down these gradients, one a parameter: PyTorch's fused one, or plain operations for the compiler to fuse."""
        moments: list[Any] = list(self)
        means, squares = [m.exp_avg for m in moments], [m.exp_avg_sq for m in moments]
        if torch.compiler.is_compiling():
            step_size, scale = self.step_size[nth], self.scale[nth]
            for moment, mean, square, parameter, gradient in zip(moments, means, squares, self.trained, gradients, strict=True):
                moment.step.add_(1)
                mean.lerp_(gradient, 1 - self.BETAS[0])
                square.mul_(self.BETAS[1]).addcmul_(gradient, gradient, value=1 - self.BETAS[1])
                parameter.sub_(step_size * (mean / (square.sqrt() * scale + self.EPSILON)))
        else:
            rate = self._rate(self._steps.double()).float() if self.anneal else self.learning_rate
            adam(
                self.trained, list(gradients), means, squares, [], [m.step for m in moments], fused=True, amsgrad=False,
                beta1=self.BETAS[0], beta2=self.BETAS[1], lr=rate, weight_decay=0.0, eps=self.EPSILON, maximize=False,
            )  # fmt: skip

    @torch.no_grad()
    def prepare(self) -> None:
        """Work out what the next steps need of the number of steps."""
        taken = self._steps.double() + torch.arange(len(self.scale), device=self.scale.device)
        # rounded once, at the end: compiled code and this give the same bits
        first, second = (-torch.expm1((taken + 1) * math.log(beta)) for beta in self.BETAS)
        self.step_size.copy_(self._rate(taken) / first)
        self.scale.copy_(second.rsqrt())

    @property
    def _steps(self) -> Tensor:
        moment: Any = self[0]
        return moment.step

    def _rate(self, taken: Tensor) -> Any:
        """The learning rate after so many steps f64[…]: a number, or f64[…] where it falls."""
        if not self.anneal:
            return self.learning_rate
        return self.learning_rate * (1 - 0.9 * (taken / self.anneal).clamp(max=1))


def _loaded(optimiser: Any, keys: Any) -> None:
    del keys
    optimiser.prepare()
