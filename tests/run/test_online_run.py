"""A run whose representation is refitted while the policy learns, as `preset=skewfit` has it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.run.runs import EVALUATE_EVERY, STEPS, checkpoint, everything, numbers, read
from tests.run.test_log_run import curve


def test_skewfit_runs_from_its_start_to_its_pictures(finished: Callable[[str], Path]) -> None:
    run = finished("online")
    found = read(run / "encoder.json")
    assert found["collect_reset"] == "start" and 0.09 < found["skew_effective_share"] <= 1
    assert {"evaluation.json", "imagined_goals.png", "rollouts.gif"} <= {path.name for path in run.iterdir()}
    meta = everything(run)["meta"]
    assert meta["goals"] == "skewed" and meta["refitted"] == 120 and meta["replay"]["version"] == 7  # one fit, six refits
    assert len(checkpoint.load(run).meta["replay"]["codes"]) == 1


@pytest.mark.parametrize("name", ["refit_value_jump", "refit_value_change", "refit_shift", "skew_effective_share", "encoder_kl"])
def test_every_refit_is_on_the_curves(finished: Callable[[str], Path], name: str) -> None:
    points = curve(finished("online"), f"train/{name}")
    assert points and all(math.isfinite(value) for _, value in points)


def test_coverage_is_in_every_row_of_the_progress(finished: Callable[[str], Path]) -> None:
    rows = numbers(finished("online"))
    assert [int(row["step"]) for row in rows] == [0, *range(EVALUATE_EVERY, STEPS, EVALUATE_EVERY), STEPS]
    hand = [float(row["hand_coverage"]) for row in rows]
    assert hand[0] == float(rows[0]["puck_coverage"]) == 0
    assert hand[1] > 0 and hand[-1] <= 2 * math.log(10)
