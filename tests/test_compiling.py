"""Which runs have their updates compiled, and that finding it out leaves no trace in them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rig import compiling
from rig.algorithm import RIG
from rig.compiling import Verdict, choose
from rig.errors import UserError
from rig.learners import LEARNERS, TD3
from rig.learners.base import Learner
from rig.learners.td3 import TD3Config
from rig.nets import Adam
from rig.types import Batch
from tests.replay.test_memory import DEVICES
from tests.test_algorithm import make
from tests.test_learners import ACTION, LATENT, assert_same, batches, draws

STEPS = 1000

needs_compiler = pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="nothing here compiles C++")


class Slope(Learner):
    """One number that steps towards the mean latent: as little to compile as can be."""

    steps = ("slope_step",)

    def __init__(self, rate: float = 0.1) -> None:
        super().__init__()
        self.config, self.rate = "slope", rate
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def slope_step(self, latent: Tensor) -> dict[str, Tensor]:
        loss = (self.weight - latent).square().mean()
        (gradient,) = torch.autograd.grad(loss, self.weight)
        with torch.no_grad():
            self.weight.sub_(self.rate * gradient)
        return {"loss": loss.detach()}

    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return self.slope_step(batch.latent)

    def act(self, latent: Tensor, goal: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.zeros(len(latent), 1)


class Uncompilable(Slope):
    """Its step looks at a number, which stops a compiler."""

    def slope_step(self, latent: Tensor) -> dict[str, Tensor]:
        print(latent.mean().item(), end="")
        return {"loss": latent.mean()}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(compiling, "CACHE", tmp_path)
    return tmp_path


def verdicts(cache: Path) -> list[Path]:
    return list(cache.glob("compiled/*.json"))


def remember(agent: RIG, verdict: Verdict, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a verdict where the agent's own would be, by having it measured."""
    monkeypatch.setattr(compiling, "WORTH_MEASURING", 0.0)
    choose(agent, "auto", STEPS)
    agent.learner.compile_steps(False)
    (place,) = verdicts(cache)
    place.write_text(json.dumps(verdict._asdict()))
    return place


@needs_compiler
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", [name for name, entry in LEARNERS.items() if entry.steps])
def test_compiled_updates_are_the_same(name: str, device: str) -> None:
    """Ten updates from the same weights, one to four a call: metrics, weights, Adam's memory, and back to the code as written."""
    entry: Any = LEARNERS[name]
    settings = {"precision": "float32"} | ({"action": "clip"} if name == "ddpg" else {})
    plain, fast = (entry(entry.Config(hidden=(32, 16), **settings), LATENT, ACTION, draws(0)).to(device) for _ in range(2))
    fast.compile_steps(True)
    generators = [torch.Generator(device).manual_seed(4) for _ in range(2)]
    assert fast.compiled and not plain.compiled
    given = [Batch(*(part.to(device) for part in batch)) for batch in batches(10)]
    for call in (given[:3], given[3:4], given[4:8], given[8:]):
        metrics: dict[str, Tensor] = {}
        for batch in call:
            metrics |= plain.update(batch, generators[0])
        others = fast.learn(call, generators[1])
        assert metrics.keys() == others.keys()
        assert_same(others, metrics, 1e-5)
    states = [learner.state_dict() for learner in (fast, plain)]
    assert any(key.endswith("exp_avg") for key in states[0])
    assert_same(*states, 1e-5)
    with fast.as_written():
        assert not fast.compiled
    assert fast.compiled
    fast.compile_steps(False)
    assert not fast.compiled


@needs_compiler
def test_compiled_learners_of_one_kind_keep_apart() -> None:
    """Taking turns, each steps at its own rate, and to its own weight."""
    slow, fast = Slope(0.1), Slope(0.25)
    for learner in (slow, fast):
        learner.compile_steps(True)
    for _ in range(2):
        for learner in (slow, fast):
            learner.slope_step(torch.ones(2))
    assert slow.weight.item() == pytest.approx(1 - 0.8**2) and fast.weight.item() == pytest.approx(1 - 0.5**2)


@needs_compiler
def test_on_compiles_and_off_does_not(cache: Path) -> None:
    agent = make(learner=Slope())
    choose(agent, "off", STEPS)
    assert not agent.learner.compiled
    choose(agent, "on", STEPS)
    assert agent.learner.compiled and agent.learner.get_parameter("weight").item() == 0, "what it was tried with is undone"
    assert verdicts(cache) == [], "nothing was measured"


def test_a_learner_without_steps_is_left_alone() -> None:
    agent = make()
    for setting in ("on", "auto"):
        choose(agent, setting, STEPS)
    assert not agent.learner.compiled


def test_a_short_run_measures_nothing(cache: Path) -> None:
    agent = make(learner=TD3(TD3Config(hidden=(8,)), 1, 1, torch.Generator()))
    before = {name: value.clone() for name, value in agent.learner.state_dict().items()}
    choose(agent, "auto", STEPS)
    assert not agent.learner.compiled and verdicts(cache) == []
    assert all(torch.equal(value, before[name]) for name, value in agent.learner.state_dict().items())


@needs_compiler
def test_what_was_measured_decides_for_later_runs(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = make(learner=Slope())
    place = remember(agent, Verdict(2e-3, 1e-3, 0.5), cache, monkeypatch)
    assert "an update takes" in capsys.readouterr().err
    assert agent.learner.get_parameter("weight").item() == 0, "what it was measured with is undone"
    for steps, pays in ((400, False), (600, True)):  # half a second to start, a millisecond saved an update
        agent.learner.compile_steps(False)
        choose(agent, "auto", steps)
        assert agent.learner.compiled == pays
    place.write_text("{")
    choose(agent, "auto", STEPS)
    assert json.loads(place.read_text()).keys() == {"eager", "compiled", "start"}, "a damaged verdict is measured anew"


@needs_compiler
def test_what_cannot_be_compiled_is_said(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = make(learner=Uncompilable())
    with pytest.raises(UserError, match=r"^updates cannot be compiled here: .*; type learner\.compile=off$"):
        choose(agent, "on", STEPS)
    assert not agent.learner.compiled
    monkeypatch.setattr(compiling, "WORTH_MEASURING", 0.0)
    choose(agent, "auto", STEPS)
    assert not agent.learner.compiled and "cannot be compiled here" in capsys.readouterr().err
    choose(agent, "auto", 10**9)
    assert not agent.learner.compiled, "and not tried again"
    assert len(verdicts(cache)) == 1


@needs_compiler
@pytest.mark.parametrize("anneal", [0, 7000])
def test_what_an_optimiser_works_out_for_its_next_step_is_the_same_to_the_bit_compiled(anneal: int) -> None:
    """So that a resumed run, for which it is worked out as written, goes on like one that never stopped."""
    adam = Adam([torch.nn.Parameter(torch.zeros(2))], 1e-3, anneal, together=2)
    prepare = torch.compile(adam.prepare, fullgraph=True)
    for taken in (*range(2000), *range(2000, 20_000, 9)):
        adam._steps.fill_(taken)
        adam.prepare()
        written = adam.step_size.clone(), adam.scale.clone()
        prepare()
        assert torch.equal(adam.step_size, written[0]) and torch.equal(adam.scale, written[1]), taken
