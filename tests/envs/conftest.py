"""Worlds for the tests, closed when the test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rig.envs import BatchEnv, make_batch

OTHER_MAZES = ("point_maze_four_rooms", "point_maze_medium")
"""These differ from the first maze in data alone, and Warp compiles kernels for each scene: one maze is enough for it."""


@pytest.fixture
def make() -> Iterator[Callable[..., BatchEnv]]:
    """`make_batch` with seed 0 and the C engine unless told otherwise; what it made is closed afterwards."""
    made: list[BatchEnv] = []

    def build(task: str, num_envs: int = 1, *, seed: int = 0, engine: str = "c", **settings: Any) -> BatchEnv:
        made.append(make_batch(task, num_envs, seed=seed, engine=engine, **settings))
        return made[-1]

    yield build
    for env in made:
        env.close()


@pytest.fixture(scope="session")
def gl_works() -> None:
    """Skips where OpenGL cannot work, with the renderer's own reason."""
    try:
        make_batch("reach", 1, seed=0, render="gl").close()
    except ValueError as error:
        pytest.skip(str(error))
