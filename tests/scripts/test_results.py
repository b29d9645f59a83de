"""The table of results: trained where it is missing, gone on with where it was cut off, drawn from what is complete."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = """
always: >-
  encoder=oracle collect.frames=200 collect.num_envs=4 collect.length=10 evaluation.episodes=2 evaluation.final_episodes=2
  evaluation.probe_states=0 learner.batch=16 learner.hidden=[16,16] learner.compile=off num_envs=1 random_steps=50
curves:
  short: {type: steps=100 evaluation.every=50, seeds: 2}
  long: {type: steps=100000 evaluation.every=0 checkpoint.every=100, seeds: 1}
  wrong: {type: steps=100 learner.batch=none, seeds: 1}
figures:
  short: {curves: [short], metric: hand_distance, title: Short, published: {others: {0: 0.2, 100: 0.1}}}
  never: {curves: [short, long], metric: hand_distance, title: Never}
"""


def results(folder: Path, *arguments: str, table_of: str = TABLE) -> subprocess.Popen[str]:
    table = folder / "table.yaml"
    table.write_text(table_of)
    options = ["--table", str(table), "--runs", str(folder / "runs")]
    words = [sys.executable, "scripts/results.py", *arguments, *options]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_what_is_missing_is_trained_and_a_failure_stops_no_other(tmp_path: Path) -> None:
    trained = results(tmp_path, "run", "wrong", "short", "--jobs", "2")
    said, _ = trained.communicate(timeout=240)
    assert trained.returncode == 1 and "wrong_s0: ended with 2" in said
    assert "learner.batch" in (tmp_path / "runs" / "wrong_s0.log").read_text()
    assert results(tmp_path, "status").communicate()[0].splitlines() == [
        f"{'short':32s}2 complete", f"{'long':32s}1 missing", f"{'wrong':32s}1 missing"
    ]  # fmt: skip
    again, _ = results(tmp_path, "run", "short").communicate(timeout=60)
    assert again == ""  # nothing is missing of it
    more = TABLE.replace("steps=100 evaluation", "steps=101 evaluation")
    assert results(tmp_path, "status", table_of=more).communicate()[0].splitlines()[0] == f"{'short':32s}2 begun"

    drawn, _ = results(tmp_path, "report").communicate(timeout=60)
    with (tmp_path / "short.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["seed"], row["step"]) for row in rows] == [(seed, step) for seed in "01" for step in ("0", "50", "100")]
    assert (tmp_path / "short.png").read_bytes().startswith(b"\x89PNG")
    assert "never.png" not in drawn and not (tmp_path / "never.png").exists()  # one of its curves has no run


def test_a_stopped_run_is_saved_and_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "long_s0"
    for words, number in (("long_s0: starts", signal.SIGINT), ("long_s0: goes on", signal.SIGTERM)):
        training = results(tmp_path, "run", "long")
        before = newest(run)
        deadline = time.monotonic() + 120
        while newest(run) <= before + 100 and time.monotonic() < deadline:
            time.sleep(0.2)
        training.send_signal(number)
        said, _ = training.communicate(timeout=60)
        assert training.returncode == 1 and words in said and "ended with 130" in said
        assert newest(run) > before


def newest(run: Path) -> int:
    """The step of the newest checkpoint, -1 before the first."""
    folder = run / "checkpoints"
    return max((int(name) for name in os.listdir(folder) if name.isdigit()), default=-1) if folder.is_dir() else -1


def test_a_reader_that_leaves_early_is_no_bug(tmp_path: Path) -> None:
    asked = results(tmp_path, "status")
    assert asked.stdout is not None
    asked.stdout.close()
    assert asked.wait(timeout=60) == -signal.SIGPIPE


def test_a_curve_that_is_none_is_refused(tmp_path: Path) -> None:
    refused = results(tmp_path, "run", "shrot")
    said, _ = refused.communicate(timeout=60)
    assert refused.returncode == 2 and "no curve 'shrot' in the table; valid: short, long, wrong" in said
