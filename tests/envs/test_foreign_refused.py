"""Other people's worlds that will not do are refused in one line that says what would."""

from __future__ import annotations

import importlib.util

import pytest

from rig.envs import ForeignBatch, Spec

DOTS = "tests.envs.dots:"


@pytest.mark.parametrize("low", [(0.0,), (0.0, 4.0)])
def test_what_minus_one_stands_for_has_to_fit_the_actions(low: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"needs 2 numbers, each below \[4.0, 4.0\]; try task.low=\[0.0, 0.0\]$"):
        ForeignBatch(Spec(DOTS + "Wide", 32, low=low), 1, seed=0)


@pytest.mark.parametrize(
    ("id", "line"),
    [
        (DOTS + "Black", "gives black pictures .its own render"),
        (DOTS + "Frozen", "gives the same picture whatever moves .its own render.*try another task.view="),
        (DOTS + "Floats", r"renders float64\[64, 64, 3\]: expected u8"),
        (DOTS + "Blind", "has no render mode rgb_array"),
        (DOTS + "GoallessFrozen", "gives the same picture whatever moves"),
        (DOTS + "Discrete", r"takes actions Discrete\(4\): expected a Box"),
        (DOTS + "Thresholdless", "has no distance_threshold of its own; type task.threshold="),
        (DOTS + "Broken", "cannot be started: ArithmeticError: no dot today"),
        ("CartPole-v1", r"takes actions Discrete\(2\): expected a Box"),
        ("CartPoel-v1", "unknown task.id 'CartPoel-v1'; try task.id=CartPole-v"),
        ("no_such_module:World", "no module 'no_such_module'; expected a Gymnasium id or module:Class"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(id: str, line: str) -> None:
    with pytest.raises(ValueError, match=line) as caught:
        ForeignBatch(Spec(id, 32), 1, seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("id", "package", "extra"),
    [
        ("FetchReach-v4", "gymnasium_robotics", "robotics"),
        ("CarRacing-v3", "Box2D", "box2d"),
        ("metaworld/reach-v3", "metaworld", "metaworld"),
        ("visual-cube-single-v0", "ogbench", "ogbench"),
    ],
)
def test_a_missing_extra_is_named(id: str, package: str, extra: str) -> None:
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(ValueError, match=rf"needs {package}, .* type pip install 'rig-rl\[{extra}\]'"):
        ForeignBatch(Spec(id, 32), 1, seed=0)
