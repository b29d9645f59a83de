"""`rig evaluate` and `rig imagine` on a trained run: numbers, JSON, films, and goals from picture files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rig import build, checkpoint
from rig.commands import load_config
from rig.envs import make_batch
from rig.video import GAP, read_goals
from tests.run.runs import HORIZON, STEPS, done, read, rig

PROMISED = {
    "task", "encoder", "learner", "steps", "seed", "episodes", "checkpoint", "checkpoint_sha256", "success_rate",
    "final_distance_mean", "latent_distance_mean", "latent_true_spearman", "factors", "per_episode",
}  # fmt: skip
SIZE = 48
SHOWN = 80
"""Milliseconds for which a film shows a frame."""


def evaluated(run: Path, out: Path, *arguments: str | Path) -> dict[str, Any]:
    done("evaluate", run, "--json", out, *arguments)
    return read(out)


def test_an_evaluation_may_be_longer_than_the_training_or_shorter(finished: Callable[[str], Path], tmp_path: Path) -> None:
    for horizon in (HORIZON // 2, 2 * HORIZON):
        film = tmp_path / f"{horizon}.gif"
        answer = evaluated(
            finished("pixels"), tmp_path / "out.json", f"task.horizon={horizon}", "--episodes", "2", "--seed", "3", "--gif", film
        )
        assert answer["episodes"] == 2 and len(film_of(film)) >= 2 * horizon


@pytest.mark.parametrize(("kind", "factors"), [("pixels", {"hand"}), ("state", {"hand", "puck"})])
def test_the_evaluation_at_the_end_can_be_repeated(
    finished: Callable[[str], Path], tmp_path: Path, kind: str, factors: set[str]
) -> None:
    run = finished(kind)
    at_end = read(run / "evaluation.json")
    assert evaluated(run, tmp_path / "out.json", "--episodes", "3", "--seed", "0") == at_end
    assert at_end.keys() >= PROMISED and at_end["factors"].keys() == factors
    for factor in at_end["factors"].values():
        assert factor.keys() >= {"final_distance_mean", "idle_distance_mean", "success_rate"}
    assert len(at_end["per_episode"]) == at_end["episodes"] == 3
    assert (at_end["steps"], at_end["seed"], at_end["checkpoint"]) == (STEPS, 0, f"{STEPS:09d}")
    assert at_end["checkpoint_sha256"] == checkpoint.load(run).sha256


def test_the_seed_decides_the_goals(finished: Callable[[str], Path], tmp_path: Path) -> None:
    run = finished("state")
    answers = [evaluated(run, tmp_path / "out.json", "--episodes", "2", "--seed", seed) for seed in ("5", "5", "6")]
    assert answers[0] == answers[1]
    assert answers[0]["factors"]["puck"]["idle_distance_mean"] != answers[2]["factors"]["puck"]["idle_distance_mean"]


def test_the_table_says_what_the_json_says(finished: Callable[[str], Path], tmp_path: Path) -> None:
    out = done("evaluate", finished("state"), "--episodes", "2", "--json", tmp_path / "out.json").out
    for name, factor in read(tmp_path / "out.json")["factors"].items():
        (line,) = (line for line in out.splitlines() if line.startswith(name))
        assert f"{factor['final_distance_mean']:.4f} m" in line and f"{factor['idle_distance_mean']:.4f} m" in line


def film_of(path: Path) -> list[np.ndarray]:
    """Frames as they are shown: equal ones in a row are stored as one that stays for longer."""
    with Image.open(path) as film:
        frames = []
        for index in range(getattr(film, "n_frames", 1)):
            film.seek(index)
            frames += [np.asarray(film.convert("RGB"))] * (film.info["duration"] // SHOWN)
    return frames


@pytest.mark.parametrize(("kind", "panels"), [("pixels", 3), ("state", 2)])
def test_the_film_shows_goal_camera_and_what_the_encoder_sees(
    finished: Callable[[str], Path], tmp_path: Path, kind: str, panels: int
) -> None:
    done("evaluate", finished(kind), "--episodes", "2", "--gif", tmp_path / "out.gif")
    for path, episodes in ((tmp_path / "out.gif", 2), (finished(kind) / "rollouts.gif", 3)):
        frames = film_of(path)
        assert frames[0].shape == (3 * SIZE, 3 * (panels * SIZE + (panels - 1) * GAP), 3)
        assert 1 < len(frames) <= episodes * (HORIZON + 1 + 8)  # equal frames in a row are stored as one


def photograph(path: Path, size: int, state: tuple[float, float]) -> Path:
    """A picture file of Reach with its hand at a place."""
    env = make_batch("reach", 1, seed=0, size=size)
    try:
        Image.fromarray(env.show(np.array([state], np.float32))[0]).save(path)
    finally:
        env.close()
    return path


def test_a_picture_of_a_goal_is_as_good_as_the_goal(finished: Callable[[str], Path], tmp_path: Path) -> None:
    run = finished("pixels")
    at_end = read(run / "evaluation.json")["per_episode"]
    env = build.make_env(load_config(run), 0, "evaluate", len(at_end))
    pictures = env.show(env.sample_goals(len(at_end)))
    env.close()
    goals = [tmp_path / f"{index}.png" for index in range(len(at_end))]
    for goal, picture in zip(goals, pictures, strict=True):
        Image.fromarray(picture).save(goal)
    answer = evaluated(run, tmp_path / "out.json", "--goal", *goals)
    assert answer.keys() >= PROMISED and answer["episodes"] == len(goals) and answer["factors"] == {}
    assert answer["success_rate"] is answer["final_distance_mean"] is answer["latent_true_spearman"] is None
    assert [row["latent_distance"] for row in answer["per_episode"]] == [row["latent_distance"] for row in at_end]


def test_goals_come_from_pictures_of_any_size(finished: Callable[[str], Path], tmp_path: Path) -> None:
    near, far = (0.0, 0.6), (0.1, 0.7)
    goals = [
        photograph(tmp_path / "near.png", SIZE, near), photograph(tmp_path / "far.png", SIZE, far),
        photograph(tmp_path / "near200.png", 200, near), photograph(tmp_path / "far96.jpg", 96, far),
    ]  # fmt: skip
    answer = evaluated(finished("pixels"), tmp_path / "out.json", "--goal", *goals, "--gif", tmp_path / "out.gif")
    assert len({row["latent_distance"] for row in answer["per_episode"]}) == answer["episodes"] == len(goals)
    frames = film_of(tmp_path / "out.gif")
    assert frames[0].shape[0] == 3 * SIZE and len(frames) > len(goals)
    exact_near, exact_far, large_near, jpeg_far = read_goals(goals, SIZE).astype(np.float32)
    assert np.abs(large_near - exact_near).mean() < np.abs(large_near - exact_far).mean()
    assert np.abs(jpeg_far - exact_far).mean() < np.abs(jpeg_far - exact_near).mean()


def test_a_goal_must_be_a_picture_that_the_encoder_can_read(finished: Callable[[str], Path], tmp_path: Path) -> None:
    run, text = finished("pixels"), tmp_path / "goal.png"
    assert rig("evaluate", run, "--goal", text).line == f"rig: --goal {text}: no such file; expected a picture"
    text.write_text("no picture")
    assert f"goal picture {text} is no picture that can be read" in rig("evaluate", run, "--goal", text).line
    picture = photograph(tmp_path / "real.png", SIZE, (0.0, 0.6))
    line = rig("evaluate", finished("state"), "--goal", picture).line
    assert line == "rig: --goal: encoder oracle reads simulator state, not pictures; leave --goal out"


@pytest.mark.parametrize("count", [9, 10])
def test_imagine_draws_goals_beside_real_frames(finished: Callable[[str], Path], tmp_path: Path, count: int) -> None:
    said = done("imagine", finished("pixels"), "--count", str(count), "--out", tmp_path / "out.png")
    assert str(tmp_path / "out.png") in said.out
    columns, rows = 3, -(-count // 3)
    side = SIZE + GAP
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.format == "PNG"
        # Two sheets without a gap at their ends, and between them a white bar of 4 pixels with a gap on either side.
        assert picture.size == (3 * (2 * (columns * side - GAP) + 4 + 2 * GAP), 3 * (rows * side - GAP))


def test_imagine_writes_where_help_says(
    finished: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done("imagine", finished("pixels"), "--count", "1")
    assert (tmp_path / "imagined.png").is_file()


def test_imagine_needs_a_decoder(finished: Callable[[str], Path], tmp_path: Path) -> None:
    line = rig("imagine", finished("state"), "--out", tmp_path / "out.png").line
    assert line == "rig: encoder oracle has no decoder to show goals with; train with encoder=beta_vae"
    assert not (tmp_path / "out.png").exists()
