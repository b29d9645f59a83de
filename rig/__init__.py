"""Reinforcement learning with imagined goals, from pixels.

Importing it imports nothing else: names are fetched from their modules when they are asked for, and the Gymnasium ids
(`gymnasium.make("rig/Reach-v0")`) are registered when, and as soon as, Gymnasium is there.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    from rig.cli_compose import compose
    from rig.commands import train
    from rig.config import RunConfig
    from rig.encoders.base import Encoder
    from rig.envs import BatchEnv, Task, make_batch
    from rig.errors import UserError
    from rig.goals.base import GoalSampler
    from rig.learners.base import Learner
    from rig.types import Batch

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "BatchEnv",
    "Encoder",
    "GoalSampler",
    "Learner",
    "RunConfig",
    "Task",
    "UserError",
    "__version__",
    "compose",
    "make_batch",
    "train",
]

_HOMES = {
    "Batch": "rig.types",
    "BatchEnv": "rig.envs",
    "Encoder": "rig.encoders.base",
    "GoalSampler": "rig.goals.base",
    "Learner": "rig.learners.base",
    "RunConfig": "rig.config",
    "Task": "rig.envs",
    "UserError": "rig.errors",
    "compose": "rig.cli_compose",
    "make_batch": "rig.envs",
    "train": "rig.commands",
}


def __getattr__(name: str) -> Any:
    """A name of the public face, from the module that holds it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'rig' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


class _RegisterAfterGymnasium(MetaPathFinder):
    """Registers the ids at the end of Gymnasium's own import: importing Gymnasium here would cost every `rig --help` 0.2 s."""

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        """Gymnasium's own spec, with the registration after its execution; nothing for any other module."""
        if fullname != "gymnasium":
            return None
        others = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in others if spec is not None), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                sys.meta_path.remove(self)
                _register()

            spec.loader.exec_module = execute_and_register
        return spec


def _register() -> None:
    import_module("rig.envs").register()


if "gymnasium" in sys.modules:
    _register()
else:
    sys.meta_path.insert(0, _RegisterAfterGymnasium())
