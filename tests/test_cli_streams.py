"""The command line where a stream is closed, an encoding is small, or a name is longer than a disk takes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rig.cli import main


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_closed_stream_stops_nothing(closed: str) -> None:
    code = f"{sys.executable} -m rig list encoders {closed}"
    assert subprocess.run(code, shell=True, capture_output=True, check=False).returncode == 0


def test_an_encoding_that_lacks_a_letter_stops_nothing() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "rig", "list"], capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert b"spatial_vae" in said.stdout


def test_a_name_that_is_too_long_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("evaluate", "compare", "resume"):
        assert main([command, "x" * 300]) == 2
        assert capsys.readouterr().err.count("\n") == 1
