"""Weights that others trained, out of a file that can run no code, into a net that they must fit."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor, nn

from rig.errors import UserError
from rig.tensors import unpack

_CODE = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How files begin that Python unpickles: zip archives, as torch.save writes them, and bare pickles, as it wrote them before."""


def read(path: str, sha256: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU, by name.

    Args:
        path: the file; "~" is the home folder.
        sha256: what its SHA-256 must be, in hexadecimal; empty: it may be anything.

    Raises:
        UserError: there is no such file, it cannot be read, it is of another format (a pickle is never opened) or damaged, or
            it has another SHA-256.
    """
    try:
        data = Path(path).expanduser().read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"encoder.weights={path}: no such file; expected a safetensors file; nothing is downloaded") from error
    except (OSError, RuntimeError) as error:  # "~nobody" has no home
        raise UserError(f"encoder.weights={path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        tensors = unpack(data)
    except SafetensorError as error:
        if not data.startswith(_CODE):  # asked late, for the length at the head of a safetensors file may have the same bytes
            raise UserError(f"encoder.weights={path} is no safetensors file, or a cut one ({error})") from error
        raise UserError(
            f"encoder.weights={path} is a pickle, whatever its name, and a pickle can run code; convert it by "
            f"safetensors.torch.save_file(torch.load('{path}', weights_only=True), 'weights.safetensors')"
        ) from error
    found = hashlib.sha256(data).hexdigest()  # of the very bytes that are used
    if sha256 and found != sha256.strip().lower():
        raise UserError(f"encoder.weights={path} has the SHA-256 {found}, and encoder.sha256 is {sha256}: it is another file")
    return tensors


def put(net: nn.Module, tensors: Mapping[str, Tensor], spare: Collection[str], whose: str) -> None:
    """Give a net the tensors of its names, in its own dtypes; those in `spare` may be among them, and are left aside.

    Raises:
        UserError: a tensor is missing, has another shape, belongs to no part of the net or is not finite; `whose` begins the
            line. The net is as it was.
    """
    own = net.state_dict()
    for name, tensor in own.items():
        # Files of old versions of PyTorch lack this count, which nothing that is not trained reads.
        if name not in tensors and not name.endswith(".num_batches_tracked"):
            raise UserError(f"{whose}: it has no tensor {name} {_shape(tensor)}; it begins with {_first(tensors)}")
    for name, tensor in tensors.items():
        if name in spare:
            continue
        if name not in own:
            raise UserError(f"{whose}: its tensor {name} {_shape(tensor)} belongs to no part of the model")
        if tensor.shape != own[name].shape:
            raise UserError(f"{whose}: its tensor {name} is {_shape(tensor)}, and the model's is {_shape(own[name])}")
        if not bool(tensor.to(own[name].dtype).isfinite().all()):
            raise UserError(f"{whose}: its tensor {name} holds values that are not finite")
    net.load_state_dict({**own, **{name: tensors[name] for name in own if name in tensors}})


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"


def _first(tensors: Mapping[str, Tensor]) -> str:
    """The first name of a file, which shows at a glance how its names differ."""
    name = min(tensors, default="")
    return f"{name} {_shape(tensors[name])}" if name else "nothing"
