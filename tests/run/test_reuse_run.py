"""Encoders that are trained alone and shared, and runs that learn from what another run lived through."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.run.runs import HORIZON, PIXELS, STEPS, copy, done, everything, newest, read, rig

LIVED = (STEPS // HORIZON) * HORIZON
"""Steps of whole episodes in a finished run."""


def parts(run: Path, name: str, step: int | None = None) -> dict[str, torch.Tensor]:
    """A part's tensors in a checkpoint of a run."""
    return {key: value for key, value in everything(run, step).items() if key.startswith(f"{name}/")}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that `rig encode train` left."""
    run = tmp_path_factory.mktemp("encoder") / "run"
    typed = [word for word in PIXELS if not word.startswith("steps=")]
    said = done("encode", "train", *typed, "encoder.latent_dim=5", f"run_dir={run}")
    assert f"encoder.from={run}" in said.out
    return run


@pytest.fixture(scope="module")
def replayed(finished: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learnt from the frames of another, by another encoder."""
    run = tmp_path_factory.mktemp("replayed") / "run"
    done("train", *PIXELS, "encoder=spatial_vae", f"replay.from={finished('pixels')}", f"run_dir={run}")
    return run


def test_an_encoder_that_is_trained_alone_is_a_run_without_steps(encoder: Path) -> None:
    assert newest(encoder) == 0 and read(encoder / "encoder.json")["active_units"] >= 0
    assert (encoder / "imagined_goals.png").is_file()


def test_a_run_sees_by_another_runs_encoder_as_it_is(encoder: Path, tmp_path: Path) -> None:
    typed = [word for word in PIXELS if not word.startswith("encoder")]
    run = tmp_path / "run"
    done("train", *typed, f"encoder.from={encoder}", "goals=gaussian_full", "seed=3", f"run_dir={run}")
    ours, theirs = parts(run, "encoder"), parts(encoder, "encoder")
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert parts(run, "goals")["goals/mean"].shape == (5,) and newest(run) == STEPS  # a prior of its own, and a policy
    assert "reconstruction" not in read(run / "encoder.json")  # nothing was trained


def test_a_replayed_run_holds_the_frames_and_actions_of_the_other_and_codes_of_its_own(
    replayed: Path, finished: Callable[[str], Path]
) -> None:
    source, found = everything(finished("pixels")), everything(replayed)

    def held(name: str) -> torch.Tensor:
        """Of every episode of the replayed run: all are closed but the last, which is as complete."""
        return torch.cat((found[f"chunks/{name}"], found[f"replay/{name}"]))

    for name in ("observed", "action"):
        assert torch.equal(held(name), source[f"chunks/{name}"]) and len(held(name)) == LIVED // HORIZON
    assert held("latent").shape[2] == found["meta"]["latent_dim"] == 16
    assert len({tuple(goal.tolist()) for goal in held("goal")}) == LIVED // HORIZON
    before = parts(replayed, "learner", 0)
    learnt = [name for name, value in parts(replayed, "learner").items() if not torch.equal(value, before[name])]
    assert any("actor" in name for name in learnt) and found["meta"]["steps"] == STEPS
    assert all(torch.equal(value, found[name]) for name, value in parts(replayed, "env", 0).items())  # no step in the worlds
    assert {"evaluation.json", "rollouts.gif", "imagined_goals.png"} <= {path.name for path in replayed.iterdir()}


def test_a_replayed_run_is_resumed_exactly_and_needs_the_other_no_more(replayed: Path, tmp_path: Path) -> None:
    half = copy(replayed, tmp_path / "half", upto=60)
    assert 0 < newest(half) < STEPS
    config = (half / "config.yaml").read_text()
    gone = re.sub(r"(?m)^  replay: /.*$", "  replay: /gone", config)
    assert gone != config
    (half / "config.yaml").write_text(gone)
    done("resume", half)
    once, again = everything(replayed), everything(half)
    for name, value in once.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, again[name]), name


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["encoder.from={encoder}", "encoder=oracle"], "takes that run's encoder as it is; leave encoder=oracle out"),
        (["encoder.from={encoder}", "encoder.latent_dim=3"], "as it is; leave encoder.latent_dim=3 out"),
        (["encoder.from={encoder}", "task.size=64"], "sees 48×48 pixels, got task.size=64; try task.size=48"),
        (["encoder.from=nowhere"], "nowhere is no run folder"),
        (["replay.from={encoder}"], "has 0 whole episodes, less than num_envs=1; give another run"),
        (["replay.from={pixels}", "encoder=oracle"], "holds frames, and encoder=oracle reads states; try encoder=beta_vae"),
        (["replay.from={pixels}", "task=push"], "is of task=reach, got task=push; try task=reach"),
        (["replay.from={pixels}", "task.horizon=9"], "is of task.horizon=10, got task.horizon=9; try task.horizon=10"),
        (["replay.from={pixels}", "task.camera=wide"], "is of task.camera=own, got task.camera=wide; try task.camera=own"),
        (["replay.from={pixels}", "online.every=20"], "got online.every=20; try online.every=0"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_refused_before_anything_is_trained(
    typed: list[str], message: str, encoder: Path, finished: Callable[[str], Path], tmp_path: Path
) -> None:
    words = [word.format(encoder=encoder, pixels=finished("pixels")) for word in typed]
    base = [word for word in PIXELS if not word.startswith("encoder")]
    said = rig("train", *base, *words, f"run_dir={tmp_path / 'run'}")
    assert message in said.line and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["encode"], "rig encode can only train, got ''; try rig encode train task=push encoder=beta_vae"),
        (["encode", "probe"], "rig encode can only train, got 'probe'"),
        (["encode", "train", "steps=9"], "trains an encoder alone, got steps=9; try rig train"),
    ],
)
def test_encode_trains_and_nothing_else(typed: list[str], message: str) -> None:
    assert message in rig(*typed).line
