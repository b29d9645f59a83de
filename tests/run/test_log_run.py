"""What a run writes down on its way: progress.csv, TensorBoard's curves, and what it says as it begins."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils._python_dispatch import TorchDispatchMode

from rig.config_io import from_yaml
from rig.log import Log, read_rows
from rig.tensors import fetched
from tests.run.runs import EVALUATE_EVERY, EVERY, KINDS, STEPS, Said, copy, done, read

EVALUATED = [*range(0, STEPS, EVALUATE_EVERY), STEPS]


def curve(run: Path, name: str) -> list[tuple[int, float]]:
    """(step, value) of every point that TensorBoard shows."""
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_a_run_writes_its_progress_down(finished: Callable[[str], Path]) -> None:
    run = finished("state")
    rows = read_rows(run / "progress.csv")
    assert [int(row["step"]) for row in rows] == EVALUATED
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    shown = curve(run, "evaluation/puck_distance")
    assert [step for step, _ in shown] == EVALUATED
    assert [value for _, value in shown] == pytest.approx([float(row["puck_distance"]) for row in rows])
    assert [step for step, _ in curve(run, "evaluation/success_rate")] == EVALUATED
    steps = [step for step, _ in curve(run, "train/critic_loss")]
    assert steps == sorted(set(steps)) and {2 * EVERY, 3 * EVERY, STEPS} <= set(steps)


@pytest.mark.parametrize("step", [0, 2 * EVERY])
def test_what_was_logged_behind_the_checkpoint_is_not_there_twice(
    finished: Callable[[str], Path], tmp_path: Path, step: int
) -> None:
    whole, run = finished("state"), copy(finished("state"), tmp_path / "run", upto=step)
    done("resume", run)
    rows = read_rows(run / "progress.csv")
    assert [int(row["step"]) for row in rows] == EVALUATED
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    for name in ("evaluation/success_rate", "evaluation/puck_distance", "train/critic_loss", "train/return"):
        assert curve(run, name) == curve(whole, name)


def test_points_up_to_a_checkpoint_are_on_disk_before_it(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        log.scalars(1, {"train/loss": 2.0})
        log.flush()
        assert curve(tmp_path, "train/loss") == [(1, 2.0)]


class Waits(TorchDispatchMode):
    """Counts the tensors that were asked for their number: each is a transfer, where the tensor is on another device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_metrics_come_in_one_transfer() -> None:
    values = {
        "loss": torch.tensor(0.1), "half": torch.tensor(2.5, dtype=torch.bfloat16), "step": torch.tensor(2.0**53).double(),
        "bad": torch.tensor(float("inf")), "finite": torch.tensor(True), "count": torch.tensor(3),
    }  # fmt: skip
    with Waits() as waits:
        numbers = fetched(values)
    assert waits.count == 0
    with Waits() as waits:
        assert numbers == {name: float(value) for name, value in values.items()}
    assert waits.count == len(values)
    assert fetched({}) == {} and math.isnan(fetched({"loss": torch.tensor(math.nan)})["loss"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_says_what_its_memory_will_take(answers: Callable[[str], tuple[Path, Said]], kind: str) -> None:
    run, said = answers(kind)
    found = re.search(r"^replay memory: ([\d,]+) bytes a transition, ([\d,]+) transitions, [\d,]+ MiB$", said.err, re.MULTILINE)
    assert found
    each, count = (int(group.replace(",", "")) for group in found.groups())
    assert count >= STEPS
    config = from_yaml((run / "config.yaml").read_text())
    if config.encoder.name == "oracle":
        assert each < 200
    else:
        frame = 48 * 48 * 3 * (config.task.horizon + 1) / config.task.horizon
        assert frame < each < frame + 100


def test_a_run_names_its_folder_frames_and_outcome(answers: Callable[[str], tuple[Path, Said]]) -> None:
    run, said = answers("pixels")
    assert f"run folder {run}; frames of reach from collect.reset=start" in said.err
    assert "hand" in said.out and said.out.rstrip().endswith(f"everything about this run is in {run}")
    seen = read(run / "encoder.json")
    assert {"loss", "kl", "active_units", "collect_reset"} <= seen.keys() and seen["probe"] == {}
    assert not {"spearman", "prior_gap", "moving_r2"} & seen.keys() and "trusted" not in said.err  # evaluation.probe_states=0
    assert re.search(r"training the policy: 100%.*return=", said.err)
