"""Learner: an off-policy, goal-conditioned actor-critic over latent codes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from types import FunctionType, MethodType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rig.learners.inputs import goal_input
from rig.nets import trains_in_bfloat16
from rig.trunk import Trunk
from rig.types import Batch

TrunkMaker = Callable[[torch.Generator], Trunk]


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
    trains_trunk: ClassVar[bool] = False
    """Whether it takes `make_trunk` as a fifth argument, and trains what that makes."""

    def __init__(self) -> None:
        super().__init__()
        self.make_trunk: TrunkMaker | None = None
        self.trunk: Trunk | None = None  # not of the class, where it would hide the module

    @abstractmethod
    def act(self, latent: Tensor, goal: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions f32[N, A] in [-1, 1] for codes and goals f32[N, D]; with exploration noise where a generator is given."""

    @abstractmethod
    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """One gradient update. Returns 0-d tensors on the learner's device, `value` (the mean Q) among them.

        Reading one stops the device until it is computed, and is up to the caller.
        """

    def learn(self, batches: Sequence[Batch], generator: torch.Generator) -> dict[str, Tensor]:
        """An update with each batch, one after the other; returns what the last of each name was."""
        metrics: dict[str, Tensor] = {}
        for batch in batches:
            metrics |= self.update(batch, generator)
        return metrics

    def q_values(self, batch: Batch) -> Tensor | None:
        """What each of its critics says of a batch, f32[C, B]; None from a learner that does not say."""
        return None

    def inputs(self, latent: Tensor, goal: Tensor) -> Tensor:
        """What actor and critics are given of agent coordinates and goals f32[B, K], or of their features: see `goal_input`."""
        if self.trunk is not None:
            latent, goal = self.trunk(latent), self.trunk(goal)
        return goal_input(self.config.goal_input, latent, goal)

    def grow_trunk(self, make: TrunkMaker | None, generator: torch.Generator) -> int:
        """Make the trunk, if there is to be one; returns how many numbers stand for a code from then on."""
        self.make_trunk = make
        self.trunk = make(generator) if make else None
        return self.trunk.features if self.trunk else self.latent_dim

    def judging(self, critics: nn.Module) -> list[nn.Parameter]:
        """What learns from the critics' error: they, and the trunk."""
        return [*critics.parameters(), *(self.trunk.parameters() if self.trunk else ())]

    def shifted(self, batch: Batch, generator: torch.Generator) -> Batch:
        """A batch for a trunk, each of its pictures moved at random; without a trunk, the batch."""
        if self.trunk is None:
            return batch
        latent, goal, after = (self.trunk.shifted(x, generator) for x in (batch.latent, batch.goal, batch.next_latent))
        return batch._replace(latent=latent, goal=goal, next_latent=after)

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
        anew = torch.Generator().manual_seed(seed)
        trunk = [self.make_trunk] if self.make_trunk else []
        fresh: Learner = kind(self.config, self.latent_dim, self.action_dim, anew, *trunk)
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


def compiled(step: MethodType, device: torch.device) -> Step:
    """A step as one compiled graph, its gradients and optimiser included; on CUDA, captured once and replayed.

    Nothing that a learner is made of changes but in place, so that only what it is given is looked at before a call: looking at
    all of its modules took a twentieth of an update. Compiled code is kept by the function that it was made of; so that no other
    learner's is taken, each has a function of its own.
    """
    import torch._dynamo  # slow to import, and most runs do without

    torch._dynamo.config.trace_autograd_ops = True
    torch.compiler.assume_constant_result(trains_in_bfloat16)  # it asks the hardware, which no graph can
    shared: Any = step.__func__
    own = FunctionType(shared.__code__.replace(), shared.__globals__, shared.__name__, shared.__defaults__, shared.__closure__)
    options: dict[str, Any] = {"guard_filter_fn": torch.compiler.skip_guard_on_all_nn_modules_unsafe}
    options |= {"triton.cudagraphs": True} if device.type == "cuda" else {"size_asserts": False}
    graph = torch.compile(MethodType(own, step.__self__), fullgraph=True, dynamic=False, options=options)
    if device.type != "cuda":
        return graph

    def replay(*tensors: Any) -> dict[str, Tensor]:
        torch.compiler.cudagraph_mark_step_begin()
        return {name: value.clone() for name, value in graph(*tensors).items()}  # the next replay overwrites them

    return replay
