"""Tiny runs that were trained to their end without a break, once for all tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.run.runs import KINDS, Said, done


@pytest.fixture(scope="session")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Said]]:
    """Kind of run -> its folder, and what its training answered. Nobody changes the folder: see `runs.copy`."""
    trained: dict[str, tuple[Path, Said]] = {}

    def train(kind: str) -> tuple[Path, Said]:
        if kind not in trained:
            folder = tmp_path_factory.mktemp("finished") / "run"
            trained[kind] = folder, done("train", *KINDS[kind], f"run_dir={folder}")
        return trained[kind]

    return train


@pytest.fixture(scope="session")
def finished(answers: Callable[[str], tuple[Path, Said]]) -> Callable[[str], Path]:
    """Kind of run -> its folder."""
    return lambda kind: answers(kind)[0]
