"""Files of weights: what is read, what is refused, and that nothing in one is ever run. Needs neither timm nor torchvision."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rig import tensors
from rig.encoders.weights import put, read
from rig.errors import UserError
from tests.run.runs import rig

WHOSE = "FILE is not of MODEL"


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def file_of(path: Path, values: dict[str, Tensor]) -> str:
    path.write_bytes(tensors.pack(values))
    return str(path)


def refusal(path: str, sha256: str = "") -> str:
    with pytest.raises(UserError) as caught:
        read(path, sha256)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Bomb:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return Path.touch, (self.place,)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    values = {"a": torch.ones(2, 3), "b": torch.tensor(7)}
    path = file_of(tmp_path / "weights.safetensors", values)
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    for sha256 in ("", digest, f" {digest.upper()} "):
        assert all(torch.equal(read(path, sha256)[name], value) for name, value in values.items())


def test_a_file_that_is_none_or_another_is_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path / "weights.safetensors", {"a": torch.ones(2)})
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    missing = f"{tmp_path}/none.safetensors"
    assert refusal(missing) == f"encoder.weights={missing}: no such file; expected a safetensors file; nothing is downloaded"
    assert refusal(str(tmp_path)) == f"encoder.weights={tmp_path}: cannot be read: Is a directory"
    assert refusal(path, "0" * 64) == (
        f"encoder.weights={path} has the SHA-256 {digest}, and encoder.sha256 is {'0' * 64}: it is another file"
    )
    for damaged in (b"", b"some text", Path(path).read_bytes()[:-1]):
        Path(path).write_bytes(damaged)
        assert refusal(path).startswith(f"encoder.weights={path} is no safetensors file, or a cut one (")


@pytest.mark.parametrize("how", ["zip", "before zip", "bare"])
def test_a_pickle_is_refused_by_any_name_and_never_opened(tmp_path: Path, how: str) -> None:
    path, trap = tmp_path / "weights.safetensors", tmp_path / "trap"
    if how == "bare":
        path.write_bytes(pickle.dumps(Bomb(trap), protocol=4))
    else:
        torch.save({"a": Bomb(trap)}, path, _use_new_zipfile_serialization=how == "zip")
    line = refusal(str(path))
    assert "is a pickle, whatever its name, and a pickle can run code; convert it by safetensors.torch.save_file(" in line
    assert not trap.exists()


def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path: Path) -> None:
    """The first eight bytes are the header's length: that of 640 are 80 02, as a pickle begins."""
    values, length = {"a": torch.ones(2)}, 0
    for width in range(1, 640):
        path = file_of(tmp_path / "weights.safetensors", {"a" * width: torch.ones(2)})
        length = int.from_bytes(Path(path).read_bytes()[:8], "little")
        if length == 640:
            values = {"a" * width: torch.ones(2)}
            break
    assert length == 640 and Path(path).read_bytes()[:2] == b"\x80\x02"
    assert read(path, "").keys() == values.keys()


def test_weights_that_fit_are_put_in_whatever_their_precision_and_a_head_is_left_aside() -> None:
    model, other = net(), net()
    values = {name: value.half() if value.is_floating_point() else value for name, value in other.state_dict().items()}
    del values["1.num_batches_tracked"]  # as in old files
    put(model, {**values, "head.weight": torch.ones(9)}, {"head.weight"}, WHOSE)
    for name, value in model.state_dict().items():
        assert value.dtype == other.state_dict()[name].dtype
        torch.testing.assert_close(value, other.state_dict()[name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"0.bias": None}, "it has no tensor 0.bias 4; it begins with 0.weight 4×3"),
        ({"0.weight": torch.ones(4, 5)}, "its tensor 0.weight is 4×5, and the model's is 4×3"),
        ({"2.weight": torch.ones(2, 2)}, "its tensor 2.weight 2×2 belongs to no part of the model"),
        ({"0.bias": torch.tensor([0, 0, 0, torch.nan])}, "its tensor 0.bias holds values that are not finite"),
    ],
)
def test_weights_of_another_architecture_are_refused_and_change_nothing(change: dict[str, Any], line: str) -> None:
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    values = {name: value for name, value in {**net().state_dict(), **change}.items() if value is not None}
    with pytest.raises(UserError) as caught:
        put(model, values, (), WHOSE)
    assert str(caught.value) == f"{WHOSE}: {line}"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_without_a_package_or_without_weights_a_run_is_refused_before_it_is_one(tmp_path: Path) -> None:
    line = rig("train", "encoder=pretrained", "collect.num_envs=1", f"run_dir={tmp_path / 'run'}").line
    reasons = ("pip install 'rig-rl[pretrained]'", "install torch and torchvision anew", "needs encoder.weights")
    assert any(reason in line for reason in reasons)
    assert not (tmp_path / "run").exists()
