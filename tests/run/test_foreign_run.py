"""Whole runs in other people's worlds, by the command line: they train, fail, resume and say what they cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.runs import STEPS, TINY, differences, done, everything, read, rig

DOT = (*TINY, "task=gym", "task.id=tests.envs.dots:Dot", "encoder=oracle", "task.unit=m")
BALL = (*TINY, "task=gym", "task.id=tests.envs.dots:Ball", "encoder=beta_vae", "encoder.training.steps=4", "num_envs=2")


def test_a_run_in_a_foreign_world_says_where_its_goals_are_from(tmp_path: Path) -> None:
    said = done("train", *DOT, f"run_dir={tmp_path / 'run'}")
    assert "goals are frames of the worlds' own rollouts" in said.out and "tests.envs.dots:Dot" in said.out
    evaluation = read(tmp_path / "run" / "evaluation.json")
    assert evaluation["task"] == "tests.envs.dots:Dot" and evaluation["factors"]["goal"]["unit"] == "m"
    assert evaluation["goal_source"].startswith("goals are frames") and evaluation["factors"]["goal"]["idle_distance_mean"] > 0
    again = done("evaluate", tmp_path / "run", "--episodes", "2")
    assert "goals are frames of the worlds' own rollouts" in again.out


def test_a_mujoco_world_resumes_bit_for_bit(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done("train", *BALL, f"run_dir={whole}")
    done("train", *BALL, f"run_dir={parts}", "steps=81")  # in the middle of an episode
    assert everything(parts)["meta"]["replay"]["step"] not in (0, 10)
    done("resume", parts, f"steps={STEPS}")
    ours, theirs = everything(parts), everything(whole)
    assert set(differences(ours, theirs)) <= {"meta"} and len(ours) > 20


def test_another_world_begins_its_open_episode_anew(tmp_path: Path) -> None:
    done("train", *DOT, f"run_dir={tmp_path / 'run'}", "steps=81")
    said = done("resume", tmp_path / "run", f"steps={STEPS}")
    assert said.err.count("no open episode to go on with: a new one begins") == 1


def test_a_run_goes_on_where_a_worker_dies_and_ends_where_it_keeps_dying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failures").touch()
    monkeypatch.setenv("DOT_FAILS", f"die 9 2 {tmp_path / 'failures'}")
    said = done("train", *DOT, f"run_dir={tmp_path / 'run'}", "collect.length=5")
    assert said.err.count("died with exit code 7") == 2 and "starting it again" in said.err
    monkeypatch.setenv("DOT_FAILS", f"raise 9 99 {tmp_path / 'failures'}")
    said = rig("train", *DOT, f"run_dir={tmp_path / 'other'}", "collect.length=5")
    assert said.code == 2 and "Traceback" in said.err and "the dot fell off" in said.err
    assert said.err.splitlines()[-1].startswith("rig: worker 0 of tests.envs.dots:Dot failed 4 times")


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["task.id=''"], "task=gym needs task.id, a Gymnasium id or module:Class; try task.id=FetchReach-v4"),
        (["task.id=CartPoel-v1"], "unknown task.id 'CartPoel-v1'; try task.id=CartPole-v1"),
        (["task.id=x:Y", "collect.reset=random"], "try collect.reset=start"),
        (["task.id=x:Y", "task.threshold=-1"], "task.threshold must be at least 0"),
        (["task.id=x:Y", "task.time_limit=0"], "task.time_limit must be above 0"),
        (["task.id=x:Y", "task.view=[1,2]"], "task.view must be a name or six numbers"),
        (["task.id=tests.envs.dots:Black"], "gives black pictures"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(overrides: list[str], line: str, tmp_path: Path) -> None:
    assert line in rig("train", *TINY, "task=gym", *overrides, f"run_dir={tmp_path / 'run'}").line
    assert list(tmp_path.iterdir()) == []


def test_in_a_world_without_goals_the_encoder_is_trained_alone(tmp_path: Path) -> None:
    goalless = (*BALL, "task.id=tests.envs.dots:Goalless", "evaluation.probe_states=40")
    refused = rig("train", *goalless, f"run_dir={tmp_path / 'run'}")
    assert refused.line == (
        f"rig: tests.envs.dots:Goalless has no goals that a policy could be trained to reach, got steps={STEPS}; "
        "type steps=0 to train the encoder alone"
    )
    assert list(tmp_path.iterdir()) == []
    said = done("train", *goalless, "steps=0", f"run_dir={tmp_path / 'run'}")
    assert "beta_vae alone: reconstruction" in said.out and "of 8 latents active" in said.out
    assert said.out.endswith(f"everything about this run is in {tmp_path / 'run'}\n")
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {
        "config.yaml", "origin.json", "encoder.json", "checkpoints", "imagined_goals.png", "interpolations.png", "run.lock",
    }  # fmt: skip
    seen = read(tmp_path / "run" / "encoder.json")
    assert seen["probe"] == {} and "spearman" not in seen  # there are no states whose distances could be told
    assert 0 < seen["moving_share"] < 1 and seen["moving_r2"] < 1 and 0 <= seen["prior_gap_p"] <= 1
    assert f"R² {seen['moving_r2']:.3f} over the {seen['moving_share']:.0%} of pixels that move" in said.err
    before = (tmp_path / "run" / "config.yaml").read_text()
    assert "type steps=0 to train" in rig("resume", tmp_path / "run", "steps=50").line
    assert (tmp_path / "run" / "config.yaml").read_text() == before
    done("imagine", tmp_path / "run", "--count", "3", "--out", tmp_path / "out.png")
    assert "has no goals" in rig("evaluate", tmp_path / "run").line


def test_a_state_that_is_not_there_cannot_be_the_code(tmp_path: Path) -> None:
    said = rig("train", *DOT, "task.id=tests.envs.dots:Goalless", "steps=0", f"run_dir={tmp_path / 'run'}")
    assert said.line == "rig: encoder=oracle reads a state, and tests.envs.dots:Goalless has none; try encoder=beta_vae"


def test_settings_of_foreign_worlds_are_not_those_of_others(tmp_path: Path) -> None:
    assert "unknown key 'task.id'" in rig("train", *TINY, "task=reach", "task.id=FetchReach-v4", f"run_dir={tmp_path}").line
