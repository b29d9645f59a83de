"""The virtual environment: a torch that is there and will do is used, and no other downloaded."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from scripts import venv

PYPROJECT = 'dependencies = [\n    "torch>=2.10,<2.14",\n]'


def fake_python(folder: Path, printed: str, code: int = 0) -> str:
    """A program that answers whatever it is asked with one line."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\necho '{printed}'\nexit {code}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("printed", "usable"),
    [
        ("2.10.0", True),
        ("2.13.0+cpu", True),
        ("2.13.1+cu130", True),
        ("2.9.1", False),  # 2.9 < 2.10, whatever the text says
        ("2.14.0", False),
        ("2.14.0.dev20261101", False),
        ("3.0.0", False),
        ("", False),
        ("no version", False),
    ],
)
def test_only_a_torch_in_range_will_do(tmp_path: Path, printed: str, usable: bool) -> None:
    assert venv.usable_torch(fake_python(tmp_path, printed), PYPROJECT) == (printed if usable else "")
    assert venv.usable_torch(fake_python(tmp_path, printed, code=1), PYPROJECT) == ""


def test_the_range_is_that_of_the_package() -> None:
    low, high = venv.torch_range((venv.ROOT / "pyproject.toml").read_text())
    assert low <= tuple(map(int, venv.PINNED_TORCH.split(".")[:2])) < high
    with pytest.raises(SystemExit, match=r"pyproject.toml must say"):
        venv.torch_range('"torch"')


@pytest.fixture
def without_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Putting pip into an environment takes seconds, and has nothing to do with what is tested."""
    real = subprocess.run

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return real([*command, "--without-pip"] if "venv" in command else command, **options)

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.usefixtures("without_pip")
def test_an_environment_sees_the_packages_of_the_python_below_or_of_the_environment_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, prefix, shared in (("alone", sys.prefix, False), ("below", sys.prefix, True), ("around", "/usr", True)):
        monkeypatch.setattr(sys, "base_prefix", prefix)
        venv.create(tmp_path / name, shared_torch=shared)
        system = "include-system-site-packages = true" in (tmp_path / name / "pyvenv.cfg").read_text()
        assert system == (name == "below")
        asked = [str(tmp_path / name / "bin" / "python"), "-c", "import sys; print(sys.path)"]
        seen = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        assert (repr(sysconfig.get_paths()["purelib"]) in seen) == (name == "around")


def test_where_there_is_no_pinned_torch_any_in_range_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command[1:])
        return subprocess.CompletedProcess(command, returncode=1 if "==" in command[-1] else 0)

    monkeypatch.setattr(subprocess, "run", pip)
    venv.install_torch(["pip"], "file:///somewhere")
    index = ["--index-url", "file:///somewhere"]
    assert asked == [[*index, f"torch=={venv.PINNED_TORCH}"], [*index, "torch>=2.10,<2.14"]]


def test_without_a_gpu_the_smaller_torch_is_offered_unless_an_index_is_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0))
    monkeypatch.setattr(sys, "platform", "linux")
    for index, gpu, offered in (("", None, True), ("", "/usr/bin/nvidia-smi", False), ("file:///here", None, False)):
        monkeypatch.setattr(venv.shutil, "which", lambda _, gpu=gpu: gpu)
        venv.install_torch(["pip"], index)
        assert ("TORCH_INDEX=" in capsys.readouterr().out) == offered
