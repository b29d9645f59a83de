"""Learner: an off-policy, goal-conditioned actor-critic over latent codes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rig.learners.inputs import goal_input
from rig.nets import trains_in_bfloat16
from rig.types import Batch


class Learner(nn.Module, ABC):
    """Learns π(a | z, z_g) from relabelled batches. It never sees a frame, an environment, an encoder or a logger.

    `state_dict()` holds everything that training depends on: weights, target weights, and Adam's moments, which are buffers
    (`rig.nets.Adam`). A subclass with more (a counter) adds it there and in `load_state_dict`.
    """

    config: Any
    latent_dim: int
    action_dim: int
    steps: ClassVar[tuple[str, ...]] = ()
    """Methods that an update consists of: tensors in, metrics out, nothing drawn at random; these can be compiled."""

    @abstractmethod
    def act(self, latent: Tensor, goal: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions f32[N, A] in [-1, 1] for codes and goals f32[N, D]; with exploration noise where a generator is given."""

    @abstractmethod
    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """One gradient update. Returns 0-d tensors on the learner's device, `value` (the mean Q) among them.

        Reading one stops the device until it is computed, and is up to the caller.
        """

    def inputs(self, latent: Tensor, goal: Tensor) -> Tensor:
        """What actor and critics are given of agent coordinates and goals f32[B, K]: see `goal_input`."""
        return goal_input(self.config.goal_input, latent, goal)

    def begin_anew_where_due(self, updates: int, generator: torch.Generator, keep: tuple[str, ...]) -> None:
        """After every `reset_every` updates: weights, targets and moments of a new learner.

        Entries of the state that begin with one of `keep` stay. What is learnt again comes from the whole replay, without what
        the first batches left in the networks. It waits for the device once.
        Source: Nikishin et al. 2022 (arXiv:2205.07802), which resets the whole agent too.
        """
        every = self.config.reset_every
        if not every or not updates or updates % every:
            return
        seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
        kind: Any = type(self)
        fresh: Learner = kind(self.config, self.latent_dim, self.action_dim, torch.Generator().manual_seed(seed))
        kept = {name: value for name, value in self.state_dict().items() if name.startswith(keep)}
        self.load_state_dict({**fresh.state_dict(), **kept})

    @property
    def compiled(self) -> bool:
        """Whether updates run as compiled code."""
        return any(step in vars(self) for step in self.steps)

    def compile_steps(self, on: bool) -> None:
        """From the next update on, run `steps` as code compiled for this machine, or as they are written: the same results."""
        for step in self.steps:
            vars(self).pop(step, None)
            if on:
                setattr(self, step, compiled(getattr(self, step), next(self.parameters()).device))

    @contextmanager
    def as_written(self) -> Generator[None]:
        """Inside, updates are not compiled, for those who want to see every operation."""
        kept = {step: vars(self).pop(step) for step in self.steps if step in vars(self)}
        try:
            yield
        finally:
            vars(self).update(kept)


Step = Callable[..., dict[str, Tensor]]


def compiled(step: Step, device: torch.device) -> Step:
    """A step as one compiled graph, its gradients and optimiser included; on CUDA, captured once and replayed."""
    import torch._dynamo  # slow to import, and most runs do without

    torch._dynamo.config.trace_autograd_ops = True
    torch.compiler.assume_constant_result(trains_in_bfloat16)  # it asks the hardware, which no graph can
    if device.type != "cuda":
        return torch.compile(step, fullgraph=True, dynamic=False)
    captured = torch.compile(step, fullgraph=True, dynamic=False, mode="reduce-overhead")

    def replay(*tensors: Any) -> dict[str, Tensor]:
        torch.compiler.cudagraph_mark_step_begin()
        return {name: value.clone() for name, value in captured(*tensors).items()}  # the next replay overwrites them

    return replay
