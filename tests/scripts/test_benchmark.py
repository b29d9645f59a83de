"""The benchmark still runs against today's program: rows that need neither a compiler nor an OpenGL, each for a moment."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = ("relabelled_sample", "replay_memory", "vae_training", "by_name")


def test_rows_are_measured_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import benchmark
    from benchmark_turns import Size

    monkeypatch.setattr(benchmark, "QUICK", Size(turns=1, updates=4, samples=1, env_steps=2, vae_steps=1))
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--quick", "--rows", *ROWS, "--json", str(tmp_path / "out.json")])
    benchmark.main()
    rows = {row["name"]: row for row in json.loads((tmp_path / "out.json").read_text())["rows"]}
    assert list(rows) == ["relabelled_sample", "replay_memory", "replay_memory_84", "vae_training", "by_name"]
    assert all(row["ours"] > 0 and row["peer"] > 0 and row["ratio"] > 0 for row in rows.values())
    assert rows["replay_memory"]["ratio"] > 5 and rows["replay_memory_84"]["ratio"] > 5
    printed = capsys.readouterr().out
    assert all(name in printed for name in rows)
