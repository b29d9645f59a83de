"""Plain modules: multilayer perceptrons, ensembles of them, and what they share. No algorithm in here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """K multilayer perceptrons of the same shape, evaluated together by batched matrix products.

    Hidden layers are Linear → (LayerNorm) → ReLU; the last layer is linear. Weights and biases start uniform in
    ±1/sqrt(fan_in), PyTorch's rule for linear layers, drawn from `generator`.
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
        last = len(self.weights) - 1
        for layer in range(last + 1):
            x = torch.baddbmm(kept(self.biases[layer]), x, kept(self.weights[layer]))
            if layer < last:
                if self.layer_norm:
                    x = torch.addcmul(kept(self.shifts[layer]), torch.layer_norm(x, x.shape[-1:]), kept(self.gains[layer]))
                x = torch.relu_(x)
        return x


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


def optimiser_tensors(optimiser: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """An optimiser's moments and counters as flat tensors named `<prefix>.<parameter index>.<moment>`."""
    state: Mapping[int, Mapping[str, Tensor]] = optimiser.state_dict()["state"]
    return {f"{prefix}.{index}.{name}": value for index, moments in state.items() for name, value in moments.items()}


def load_optimiser_tensors(optimiser: torch.optim.Optimizer, prefix: str, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimiser_tensors` returned; an optimiser saved before its first step has none."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(f"{prefix}."):
            index, name = key.removeprefix(f"{prefix}.").split(".")
            state.setdefault(int(index), {})[name] = value.clone()  # or both optimisers would step the same moments
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
