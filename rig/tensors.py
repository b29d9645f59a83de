"""Tensors as numbers, and as bytes and back, by way of safetensors: nothing that is read can run code."""

from __future__ import annotations

from collections.abc import Mapping

import safetensors.torch
import torch
from torch import Tensor


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """One safetensors file as bytes.

    Tensors may have any shape (0-d and empty too), layout, device and dtype; the same values give the same bytes, whatever
    the order of the names.
    """
    # safetensors refuses views that share storage, so each tensor gets memory of its own.
    own = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    return safetensors.torch.save(own)


def unpack(data: bytes) -> dict[str, Tensor]:
    """What `pack` was given, on the CPU, names in no particular order.

    Raises:
        safetensors.SafetensorError: the bytes are no safetensors file, or a cut one.
    """
    return safetensors.torch.load(data)


def fetched(scalars: Mapping[str, Tensor]) -> dict[str, float]:
    """0-d tensors of any dtype, all on one device, as numbers: one transfer."""
    if not scalars:
        return {}
    return dict(zip(scalars, torch.stack([value.double() for value in scalars.values()]).tolist(), strict=True))
