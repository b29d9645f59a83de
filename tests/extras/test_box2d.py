"""CarRacing, where Box2D is installed: `make test` has it where there are wheels of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rig.envs import ForeignBatch, Spec
from tests.run.runs import done, read, rig

pytest.importorskip("Box2D", reason="Box2D is not installed; pip install 'rig-rl[box2d]'")
pytest.importorskip("pygame", reason="pygame is not installed; pip install 'rig-rl[box2d]'")

SPEC = Spec("CarRacing-v3", 64, low=(-1, 0, -1), skip=50)


@pytest.fixture(scope="module")
def race() -> Iterator[ForeignBatch]:
    env = ForeignBatch(SPEC, 2, seed=0, length=20)
    yield env
    env.close()


def drive(env: ForeignBatch, action: tuple[float, float, float], steps: int) -> np.ndarray:
    """Frames u8[steps, N, 64, 64, 3] under one action."""
    return np.stack([env.step(np.tile(np.float32(action), (env.num_envs, 1))).frame for _ in range(steps)])


def moved(frames: np.ndarray) -> float:
    """How much the last of frames u8[T, N, H, W, 3] differs from the first above the row of instruments, in levels of a pixel."""
    return float(np.abs(frames[-1, :, :52].astype(int) - frames[0, :, :52]).mean())


def test_it_is_seen_without_the_zoom_and_drives_under_gas_alone(race: ForeignBatch) -> None:
    assert (race.action_dim, race.state_dim, race.task.factors) == (3, 0, {})
    start = race.reset().frame
    assert start.shape == (2, 64, 64, 3) and start.dtype == np.uint8
    road = (np.abs(start[:, 40, 32].astype(int) - (105, 105, 105)) < 12).all()  # grey before the car, at the zoom it drives with
    grass = start[:, 40, 8, 1] > 190
    assert road and grass.all()
    assert moved(drive(race, (0, -1, -1), 8)) < 1  # no gas: it stands
    assert moved(drive(race, (0, 1, -1), 25)) > 2
    race.reset()
    braked = moved(drive(race, (0, 1, 1), 25))
    assert braked < 2  # a brake of 1 locks the wheels


def test_each_episode_has_a_track_of_its_own_that_follows_from_the_seed(race: ForeignBatch) -> None:
    twin = ForeignBatch(SPEC, 2, seed=0, length=20)
    first, fresh = twin.reset().frame, twin.random_frames(4)
    twin.close()
    other = ForeignBatch(SPEC, 2, seed=0, length=20)
    np.testing.assert_array_equal(other.reset().frame, first)
    np.testing.assert_array_equal(other.random_frames(4), fresh)
    other.close()
    assert (first[0] != first[1]).any()


def test_world_models_trains_its_encoder_on_it_and_nothing_else(tmp_path: Path) -> None:
    short = ("collect.frames=32", "collect.length=15", "collect.num_envs=2", "task.horizon=16", "task.skip=5", "device=cpu")
    tiny = ("train", "preset=world_models", *short, "encoder.training.steps=3", "encoder.training.batch=8")
    said = done(*tiny, f"run_dir={tmp_path / 'run'}")
    assert "CarRacing-v3, world_models alone: reconstruction" in said.out and "of 32 latents active" in said.out
    assert read(tmp_path / "run" / "encoder.json")["reconstruction"] > 0
    assert {"imagined_goals.png", "interpolations.png"} < {path.name for path in (tmp_path / "run").iterdir()}
    line = rig(*tiny, "steps=2000", f"run_dir={tmp_path / 'other'}").line
    assert "CarRacing-v3 has no goals" in line and line.endswith("type steps=0 to train the encoder alone")
    assert not (tmp_path / "other").exists()
