"""`rig profile`: its clock, its report, its trace."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
import torch

from rig.cli import main
from rig.profile import PARTS, Clock

SMALL = ["task.horizon=10", "num_envs=1", "learner.hidden=[16]", "learner.batch=8"]


def test_time_inside_another_span_counts_once() -> None:
    clock = Clock(torch.device("cpu"))
    inner = clock.timed("inner", lambda: time.sleep(0.02))

    def both() -> str:
        time.sleep(0.01)
        inner()
        inner()
        return "done"

    assert clock.timed("outer", both)() == "done"
    assert [span.part for span in clock.spans] == ["inner", "inner", "outer"]
    outer = clock.spans[-1]
    assert outer.length >= 0.05 and outer.own == pytest.approx(outer.length - sum(s.length for s in clock.spans[:2]))
    assert 0.01 <= outer.own < 0.02


@pytest.mark.parametrize("encoder", ["beta_vae", "oracle"])
def test_says_where_every_moment_went(encoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "trace.json"
    assert main(["profile", f"encoder={encoder}", *SMALL, "--steps", "300", "--trace", str(trace)]) == 0
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert re.match(rf"reach, {encoder}, td3: 300 env steps in [\d.]+ s, [\d.,]+ a second, on cpu", head)
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.split()[0] in PARTS}
    assert sum(float(share.rstrip("%")) for share, *_ in rows.values()) == pytest.approx(100, abs=0.6)
    calls = {part: int(count.replace(",", "")) for part, (_, count, *_) in rows.items()}
    assert calls["act"] == calls["render"] - 30 == 300 and calls["update"] == 2 * calls["sample"] == 600 and calls["log"] == 1
    limits = {line.split(":")[0]: line for line in lines if " by " in line}
    assert set(limits) == {"update", "encode", "sample"} and "by memory" in limits["sample"]
    assert all(0 <= float(line.split()[-5].rstrip("%")) <= 100 for line in limits.values()), limits
    assert ("by arithmetic" in limits["encode"]) == (encoder != "oracle"), limits
    events = json.loads(trace.read_text())["traceEvents"]
    assert {event["name"] for event in events} == set(rows)
    whole = next(event for event in events if event["name"] == "other")
    for event in events:
        assert whole["ts"] <= event["ts"] + 1 and event["ts"] + event["dur"] <= whole["ts"] + whole["dur"] + 1
    assert list(tmp_path.iterdir()) == [trace], "no run folder is left behind"


def test_other_peoples_worlds_are_physics_and_picture_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "task=gym", "task.id=tests.envs.dots:Dot", "frame=identity", *SMALL, "--steps", "40"]) == 0
    parts = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert parts >= {"physics", "encode", "update"} and "render" not in parts


def test_bad_input_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["encoder=beta_vea"], ["--steps", "0"], ["--trace", "/nowhere/t.json"], ["task=gym", "task.id=tests.envs.dots:Goalless"]
    ):  # fmt: skip
        assert main(["profile", *arguments]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
