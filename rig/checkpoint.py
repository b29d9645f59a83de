"""Checkpoints that a crash, a full disk or a damaged file cannot take away.

    RUN/checkpoints/000003000/manifest.json            SHA-256 and size of every file below, and of the replay chunks it needs
                              meta.json                plain values
                              <part>.safetensors       tensors, one file a part
    RUN/checkpoints/last                               a link to the newest
    RUN/replay/*.safetensors                           chunks, shared between checkpoints (rig.replay.disk)

A checkpoint is written into a staging folder, synced to disk, and then renamed: it is there whole or not at all. Only
safetensors and JSON are read. Whoever saves holds the run's lock (`rig.files.Lock`); whoever loads needs none, and changes
nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from rig import files
from rig import tensors as packing
from rig.errors import UserError

_FORMAT = 1  # moves when an older program could not read what this one writes
_MANIFEST = "manifest.json"
_META = "meta.json"
_PART = ".safetensors"


class Contents(NamedTuple):
    """What a checkpoint holds."""

    tensors: dict[str, dict[str, Tensor]]
    """Part ("learner", "encoder", …; lower-case letters, digits and _) -> name -> tensor of any shape, dtype and device."""
    meta: dict[str, Any]
    """Whatever JSON holds as it is: keys are strings, and tuples would come back as lists."""


class Loaded(NamedTuple):
    """A checkpoint whose every byte was verified."""

    step: int
    path: Path
    sha256: str
    """Of its manifest, and so of everything in it: the checkpoint's identity."""
    tensors: dict[str, dict[str, Tensor]]
    """As in `Contents`, on the CPU."""
    meta: dict[str, Any]
    shared: list[Path]
    """The replay chunks that it needs, in the order in which they were given to `save`."""
    skipped: list[str]
    """One line a newer checkpoint that was damaged and passed over, newest first."""


class _Entry(NamedTuple):
    sha256: str
    bytes: int


class _Manifest(NamedTuple):
    step: int
    files: dict[str, _Entry]
    shared: dict[str, _Entry]
    sha256: str


class _DamagedError(Exception):
    """Which file of a checkpoint is not as it was written, and how."""


def save(run: Path, step: int, contents: Contents, shared: Sequence[Path] = (), keep: int = 0) -> Path:
    """Write the checkpoint of a step, at one stroke, and point `last` at it. One that is there already is replaced.

    Args:
        run: the run folder, whose lock the caller holds.
        step: env steps of training so far, >= 0.
        contents: what to save.
        shared: replay chunks under `run`, on disk already and never to change.
        keep: > 0: of the checkpoints up to this step only the newest `keep` stay, and of the chunks in RUN/replay only those that
            a checkpoint lists. 0 deletes nothing.

    Returns:
        the checkpoint's folder.

    Raises:
        UserError: the disk is full or cannot be written to. Earlier checkpoints and `last` are untouched, nothing else is left.
        ValueError: a negative step, a part name that is no file name, a chunk outside the run folder.
        TypeError: meta holds something that JSON does not.
    """
    if step < 0:
        raise ValueError(f"a checkpoint's step is >= 0, not {step}")
    folder = run / "checkpoints"
    name = f"{step:09d}"
    parts = _serialised(contents)
    needed = sum(len(data) for data in parts.values())
    with files.explained(f"save checkpoint {step}", folder, needed, hint=f"make room, then type: rig resume {run}"):
        parts[_MANIFEST] = _manifest(run, step, parts, shared)
        folder.mkdir(parents=True, exist_ok=True)
        _tidy(folder)
        staging = folder / f".staging-{name}"
        try:
            staging.mkdir()
            for file, data in parts.items():
                files.write_synced(staging / file, data)
            files.sync_folder(staging)
            _put(staging, folder / name)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        _point(folder / "last", name)
        files.sync_folder(folder)
        if keep > 0:
            _prune(run, folder, step, keep)
    return folder / name


def load(run: Path, step: int | None = None, *, chunks: bool = True) -> Loaded:
    """The newest valid checkpoint of a run, or the one of a step.

    Args:
        run: the run folder.
        step: which; None: the newest whose every file is as it was written, and `skipped` says which were not.
        chunks: False: look at no replay chunk (for those who only want the policy).

    Raises:
        UserError: no run folder, no valid checkpoint, none of this step, or that one is damaged.
    """
    found = _found(run)
    if not found:
        if (run / "config.yaml").is_file():
            raise UserError(f"{run} has no checkpoints yet; go on with it by: rig resume {run}")
        raise UserError(f"{run} has no checkpoints: expected a run folder, with folders like checkpoints/000001000 in it")
    if step is not None:
        there = f"steps with a checkpoint: {', '.join(map(str, sorted(found)))}"
        if step not in found:
            raise UserError(f"{run} has no checkpoint of step {step}; {there}")
        try:
            return _read(run, found[step], step, chunks)
        except _DamagedError as damage:
            raise UserError(f"checkpoint {step} of {run} is damaged: {damage}; {there}") from None
    skipped: list[str] = []
    for newest in sorted(found, reverse=True):
        try:
            return _read(run, found[newest], newest, chunks)._replace(skipped=skipped)
        except _DamagedError as damage:
            skipped.append(f"checkpoint {newest} is damaged and passed over: {damage}")
    if _found(run) != found:  # a run in progress has put a newer one in the place of what was looked at
        return load(run, step, chunks=chunks)
    raise UserError(f"{run} has no valid checkpoint: {'; '.join(skipped)}; start again with: rig train")


def steps(run: Path) -> list[int]:
    """Steps of which there is a checkpoint, valid or not, oldest first. Empty where there is no such run."""
    return sorted(_found(run))


def digest(path: Path) -> str:
    """The SHA-256 of a checkpoint folder's manifest, in hexadecimal, which names its every byte: the checkpoint's identity.

    Raises:
        UserError: there is no manifest.
    """
    try:
        return files.sha256(path / _MANIFEST)
    except OSError as error:
        raise UserError(f"{path} is no checkpoint: {error.strerror} ({_MANIFEST})") from error


def _serialised(contents: Contents) -> dict[str, bytes]:
    parts = {_META: json.dumps(contents.meta, indent=1).encode()}
    for part, tensors in contents.tensors.items():
        if not re.fullmatch(r"[a-z0-9_]+", part):
            raise ValueError(f"a part's name has lower-case letters, digits and _ only, not {part!r}")
        parts[part + _PART] = packing.pack(tensors)
    return parts


def _manifest(run: Path, step: int, parts: dict[str, bytes], shared: Sequence[Path]) -> bytes:
    manifest = {
        "format": _FORMAT,
        "step": step,
        "files": {name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in parts.items()},
        "shared": {
            chunk.relative_to(run).as_posix(): {"sha256": files.sha256(chunk, remembered=True), "bytes": chunk.stat().st_size}
            for chunk in shared
        },
    }
    return (json.dumps(manifest, indent=1) + "\n").encode()


def _put(staging: Path, place: Path) -> None:
    """Rename the finished folder into place. Between the two renames of a replacement `_found` sees the old one under `aside`."""
    aside = place.with_name(f".replaced-{place.name}")
    replaces = place.exists()
    if replaces:
        os.rename(place, aside)
    try:
        os.rename(staging, place)
    except BaseException:
        if replaces:
            os.rename(aside, place)
        raise
    files.sync_folder(place.parent)
    if replaces:
        shutil.rmtree(aside)


def _point(link: Path, name: str) -> None:
    beside = link.with_name(f".{link.name}")
    try:
        beside.unlink(missing_ok=True)
        beside.symlink_to(name)
        os.replace(beside, link)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _tidy(folder: Path) -> None:
    """Clear away what a process that was killed in the middle of `save` has left."""
    for aside in folder.glob(".replaced-*"):
        place = folder / aside.name.removeprefix(".replaced-")
        if place.exists():
            shutil.rmtree(aside)
        else:
            os.rename(aside, place)
    for leftover in (*folder.glob(".staging-*"), *folder.glob(".removed-*")):
        shutil.rmtree(leftover)


def _prune(run: Path, folder: Path, step: int, keep: int) -> None:
    found = _found(run)
    for old in sorted(at for at in found if at <= step)[:-keep]:
        # Renamed first, so that a crash in the middle leaves no half of a checkpoint under a checkpoint's name.
        removed = folder / f".removed-{found[old].name}"
        os.rename(found[old], removed)
        shutil.rmtree(removed)
    listed: set[str] = set()
    for path in _found(run).values():
        try:
            listed |= _parsed(path).shared.keys()
        except _DamagedError:
            continue  # it cannot be loaded any more, so nothing needs the chunks that only it lists
    for chunk in (run / "replay").glob(f"*{_PART}"):
        if chunk.relative_to(run).as_posix() not in listed:
            chunk.unlink()


def _found(run: Path) -> dict[int, Path]:
    """Step -> folder."""
    found: dict[int, Path] = {}
    for path in (run / "checkpoints").glob("*"):
        aside = path.name.startswith(".replaced-")
        digits = path.name.removeprefix(".replaced-")
        if digits.isdecimal() and path.is_dir() and not (aside and int(digits) in found):
            found[int(digits)] = path
    return found


def _read(run: Path, path: Path, step: int, chunks: bool) -> Loaded:
    """A checkpoint, each file verified in the very bytes that are then used."""
    manifest = _parsed(path)
    if manifest.step != step or _META not in manifest.files:
        raise _DamagedError(f"{_MANIFEST} is another checkpoint's")
    data: dict[str, bytes] = {}
    for name, entry in manifest.files.items():
        with _reading(name):
            _check_size(path / name, name, entry)
            data[name] = (path / name).read_bytes()
            _check_sum(hashlib.sha256(data[name]).hexdigest(), name, entry)
    for name, entry in manifest.shared.items() if chunks else ():
        with _reading(name):
            _check_size(run / name, name, entry)
            _check_sum(files.sha256(run / name), name, entry)
    meta = json.loads(data.pop(_META))
    tensors = {name.removesuffix(_PART): packing.unpack(part) for name, part in data.items()}
    return Loaded(step, path, manifest.sha256, tensors, meta, [run / name for name in manifest.shared], [])


def _parsed(path: Path) -> _Manifest:
    with _reading(_MANIFEST):
        data = (path / _MANIFEST).read_bytes()
    try:
        manifest = json.loads(data)
        if manifest["format"] != _FORMAT:
            raise _DamagedError(f"{_MANIFEST} is of format {manifest['format']}, and this program reads format {_FORMAT}")
        own, shared = (
            {str(name): _Entry(str(entry["sha256"]), int(entry["bytes"])) for name, entry in manifest[key].items()}
            for key in ("files", "shared")
        )
        return _Manifest(int(manifest["step"]), own, shared, hashlib.sha256(data).hexdigest())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _DamagedError(f"{_MANIFEST} is cut short or damaged") from error


@contextmanager
def _reading(name: str) -> Generator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise _DamagedError(f"{name} is missing") from error
    except OSError as error:
        raise _DamagedError(f"{name} cannot be read: {error.strerror}") from error


def _check_size(path: Path, name: str, entry: _Entry) -> None:
    size = path.stat().st_size
    if size != entry.bytes:
        how = "cut short" if size < entry.bytes else "too long"
        raise _DamagedError(f"{name} is {how} ({size:,} bytes, and {entry.bytes:,} were written)")


def _check_sum(sha256: str, name: str, entry: _Entry) -> None:
    if sha256 != entry.sha256:
        raise _DamagedError(f"{name} is not what was written (its SHA-256 differs)")
