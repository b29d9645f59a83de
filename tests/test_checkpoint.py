"""Checkpoints: what is saved comes back, and nothing that goes wrong takes an earlier one away."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rig import checkpoint
from rig.checkpoint import Contents
from rig.errors import UserError
from rig.replay.disk import write_chunk
from tests.checkpoints import check, chunk, contents, leftovers

TENSORS: dict[str, Tensor] = {
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "empty": torch.empty(0, 3),
    "also empty": torch.empty(2, 0, dtype=torch.int64),
    "bool": torch.tensor([True, False]),
    "uint8": torch.arange(256, dtype=torch.uint8),
    "int64": torch.tensor([-(2**63), 2**63 - 1]),
    "bfloat16": torch.tensor([1.5, float("nan"), float("-inf")], dtype=torch.bfloat16),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "strided": torch.arange(10)[::3],
    "expanded": torch.ones(1, 3).expand(4, 3),
    "channels last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "generator": torch.Generator().manual_seed(3).get_state(),
}


def as_bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def test_every_kind_of_tensor_survives_bit_for_bit(tmp_path: Path) -> None:
    saved = {**TENSORS, "alias": TENSORS["uint8"], "view": TENSORS["uint8"][3:9]}
    checkpoint.save(tmp_path, 5, Contents({"learner": saved, "nothing": {}}, {}))
    loaded = checkpoint.load(tmp_path)
    assert loaded.tensors.keys() == {"learner", "nothing"} and loaded.tensors["nothing"] == {}
    assert loaded.tensors["learner"].keys() == saved.keys()
    for name, tensor in saved.items():
        back = loaded.tensors["learner"][name]
        assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape), name
        assert torch.equal(as_bytes(back), as_bytes(tensor)), name
        back.add_(1) if back.dtype != torch.bool else back.logical_not_()  # what comes back can be written to


def test_meta_comes_back_equal(tmp_path: Path) -> None:
    meta = {"numpy": {"state": 2**127 + 1, "has": None}, "best": 0.1 + 0.2, "names": ["é", "\n"], "done": False}
    checkpoint.save(tmp_path, 0, Contents({}, meta))
    assert checkpoint.load(tmp_path).meta == meta


def test_the_newest_is_loaded_and_last_points_to_it(tmp_path: Path) -> None:
    for step in (1000, 2000, 10_000):
        path = checkpoint.save(tmp_path, step, contents(step))
        assert path == tmp_path / "checkpoints" / f"{step:09d}"
        assert (tmp_path / "checkpoints" / "last").resolve() == path.resolve()
        assert not os.path.isabs(os.readlink(tmp_path / "checkpoints" / "last"))  # a run folder may be moved
    assert checkpoint.steps(tmp_path) == [1000, 2000, 10_000]
    check(checkpoint.load(tmp_path), 10_000)
    check(checkpoint.load(tmp_path, 1000), 1000)
    assert leftovers(tmp_path) == []


def test_the_digest_names_the_contents(tmp_path: Path) -> None:
    first = checkpoint.save(tmp_path / "a", 7, contents(7))
    again = checkpoint.save(tmp_path / "b", 7, contents(7))
    other = checkpoint.save(tmp_path / "c", 7, contents(8))
    assert checkpoint.digest(first) == checkpoint.digest(again) == checkpoint.load(tmp_path / "a").sha256
    assert checkpoint.digest(first) != checkpoint.digest(other)
    assert len(checkpoint.digest(tmp_path / "a" / "checkpoints" / "last")) == 64
    with pytest.raises(UserError, match="is no checkpoint"):
        checkpoint.digest(tmp_path)


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, contents(5))
    checkpoint.save(tmp_path, 1, Contents({"learner": {}}, {"new": True}))
    assert checkpoint.load(tmp_path).meta == {"new": True}
    assert checkpoint.steps(tmp_path) == [1] and leftovers(tmp_path) == []


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "missing": Path.unlink,
    "cut short": cut_short,
    "too long": lambda path: path.write_bytes(path.read_bytes() + b"\n\n"),
    "is": flip_a_bit,
}


@pytest.mark.parametrize("file", ["learner.safetensors", "encoder.safetensors", "meta.json", "replay/000001.safetensors"])
@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, file: str, how: str) -> None:
    for step in (1, 2):
        newest = checkpoint.save(tmp_path, step, contents(step), shared=[chunk(tmp_path, number) for number in range(step)])
    DAMAGE[how](tmp_path / file if "/" in file else newest / file)
    loaded = checkpoint.load(tmp_path)
    check(loaded, 1)
    (line,) = loaded.skipped
    assert line.startswith(f"checkpoint 2 is damaged and passed over: {file} ") and how in line and "\n" not in line
    with pytest.raises(UserError, match=r"checkpoint 2 of .* is damaged: .*; steps with a checkpoint: 1, 2$"):
        checkpoint.load(tmp_path, 2)


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, 1, contents(1), keep=1)
    read = checkpoint._read

    def save_another_and_read(run: Path, path: Path, step: int, chunks: bool) -> checkpoint.Loaded:
        if step == 1:
            checkpoint.save(tmp_path, 2, contents(2), keep=1)
        return read(run, path, step, chunks)

    monkeypatch.setattr(checkpoint, "_read", save_another_and_read)
    check(checkpoint.load(tmp_path), 2)


def edited(**changes: Any) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


MANIFEST_DAMAGE: list[Callable[[Path], object]] = [
    Path.unlink,
    cut_short,
    edited(step=1),
    edited(files={}),
    edited(format=99),
    edited(shared=[3]),
    edited(shared={"a": 3}),
    lambda path: path.write_text("[]"),
    lambda path: path.write_bytes(b"\xff"),
]


@pytest.mark.parametrize("damage", MANIFEST_DAMAGE)
def test_a_damaged_manifest_is_passed_over(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    checkpoint.save(tmp_path, 1, contents(1))
    damage(checkpoint.save(tmp_path, 2, contents(2)) / "manifest.json")
    loaded = checkpoint.load(tmp_path)
    check(loaded, 1)
    assert "passed over: manifest.json" in loaded.skipped[0]


def test_no_bit_of_a_manifest_can_flip_unnoticed(tmp_path: Path) -> None:
    manifest = checkpoint.save(tmp_path, 1, contents(1), shared=[chunk(tmp_path, 0)]) / "manifest.json"
    whole = manifest.read_bytes()
    for at in range(len(whole)):
        if whole[at : at + 1].isspace():
            continue
        manifest.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(UserError, match="no valid checkpoint"):
            checkpoint.load(tmp_path)


def test_where_nothing_is_valid_the_error_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no checkpoints: expected a run folder"):
        checkpoint.load(tmp_path / "nowhere")
    for step in (1, 2):
        (checkpoint.save(tmp_path, step, contents(step)) / "meta.json").unlink()
    with pytest.raises(UserError, match=r"no valid checkpoint: checkpoint 2 .*meta.json is missing; checkpoint 1 .*; start"):
        checkpoint.load(tmp_path)
    with pytest.raises(UserError, match=r"no checkpoint of step 3; steps with a checkpoint: 1, 2$"):
        checkpoint.load(tmp_path, 3)
    assert checkpoint.steps(tmp_path / "nowhere") == []


def test_chunks_are_listed_in_order_and_may_be_left_out(tmp_path: Path) -> None:
    chunks = [chunk(tmp_path, number) for number in (2, 0, 1)]
    checkpoint.save(tmp_path, 1, contents(1), shared=chunks)
    assert checkpoint.load(tmp_path).shared == chunks
    shutil.rmtree(tmp_path / "replay")
    check(checkpoint.load(tmp_path, chunks=False), 1)
    with pytest.raises(UserError, match=r"replay/000002.safetensors is missing"):
        checkpoint.load(tmp_path)


def test_a_chunk_is_read_once_however_often_it_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = [chunk(tmp_path, number) for number in range(3)]
    checkpoint.save(tmp_path, 1, contents(1), shared=chunks)
    opened: list[Path] = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *args, **kwargs: opened.append(path) or real(path, *args, **kwargs))
    checkpoint.save(tmp_path, 2, contents(2), shared=chunks)
    assert opened and not set(opened) & set(chunks)
    write_chunk(chunks[1], {"frame": torch.zeros(5)})  # the same name, other bytes: must be summed anew
    checkpoint.save(tmp_path, 3, contents(3), shared=chunks)
    assert chunks[1] in opened
    check(checkpoint.load(tmp_path), 3)


def test_keep_deletes_old_checkpoints_and_then_their_chunks(tmp_path: Path) -> None:
    chunks = [chunk(tmp_path, 0)]
    for step in range(1, 6):
        chunks.append(chunk(tmp_path, step))
        checkpoint.save(tmp_path, step, contents(step), shared=chunks[step - 1 : step + 1], keep=2)
    assert checkpoint.steps(tmp_path) == [4, 5] and leftovers(tmp_path) == []
    assert sorted((tmp_path / "replay").iterdir()) == chunks[3:]
    check(checkpoint.load(tmp_path, 4), 4)


def test_keep_spares_what_a_run_that_went_back_has_just_saved(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        path = checkpoint.save(tmp_path, step, contents(step))
        if step > 1:
            cut_short(path / "meta.json")
    assert checkpoint.load(tmp_path).step == 1
    checkpoint.save(tmp_path, 2, contents(2), keep=2)
    check(checkpoint.load(tmp_path), 2)
    check(checkpoint.load(tmp_path, 1), 1)


@pytest.mark.parametrize("wrong", [{"step": -1}, {"part": "../a"}, {"part": "manifest.json"}, {"shared": [Path("/etc/passwd")]}])
def test_what_cannot_be_saved_is_refused_before_anything_is_written(tmp_path: Path, wrong: dict[str, Any]) -> None:
    bad = Contents({wrong.get("part", "learner"): {}}, {})
    with pytest.raises(ValueError):
        checkpoint.save(tmp_path, wrong.get("step", 1), bad, wrong.get("shared", ()))
    with pytest.raises(TypeError):
        checkpoint.save(tmp_path, 1, Contents({}, {"path": tmp_path}))
    assert list(tmp_path.iterdir()) == []
