"""Learners: what the room promises, for each of them; and TD3 against stable-baselines3, on the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest
import torch
from stable_baselines3 import TD3 as SB3TD3
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor, nn

from rig.export import to_sb3
from rig.learners import LEARNERS, TD3, Learner
from rig.learners.ddpg import DDPGConfig
from rig.learners.td3 import TD3Config
from rig.nets import Adam, Ensemble
from rig.tensors import pack, unpack
from rig.types import Batch

LATENT, ACTION, ROWS = 3, 2, 64

Named = dict[str, Tensor]


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(name: str, seed: int = 0) -> Learner:
    entry: Any = LEARNERS[name]
    return entry(entry.Config(), LATENT, ACTION, draws(seed))


def batches(count: int, seed: int = 1) -> Iterator[Batch]:
    generator = draws(seed)
    for _ in range(count):
        latent, goal, after = (torch.randn(ROWS, LATENT, generator=generator) for _ in range(3))
        action = torch.rand(ROWS, ACTION, generator=generator) * 2 - 1
        yield Batch(latent, goal, action, -(after - goal).norm(dim=1), after, torch.ones(ROWS))


@pytest.fixture(params=list(LEARNERS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


# ---- what every learner promises ----


def test_acts_within_bounds_and_alike_without_a_generator(name: str) -> None:
    learner, before = make(name), torch.get_rng_state()
    latent, goal = 50 * torch.randn(2, 500, LATENT, generator=draws(2))
    action = learner.act(latent, goal)
    assert action.shape == (500, ACTION) and action.dtype == torch.float32 and not action.requires_grad
    assert action.abs().max() <= 1 and action.std(0).min() > 0.1
    assert torch.equal(action, learner.act(latent, goal)), "without a generator there is no noise"
    torch.testing.assert_close(action[7:9], learner.act(latent[7:9], goal[7:9]), msg="rows know nothing of one another")
    assert (action - learner.act(latent, latent)).abs().max() > 0.1, "the goal matters"
    assert torch.equal(before, torch.get_rng_state())


def test_explores_only_with_a_generator_which_alone_decides_how(name: str) -> None:
    learner, before = make(name), torch.get_rng_state()
    latent, goal = 50 * torch.randn(2, 500, LATENT, generator=draws(2))
    generator = draws(3)
    first, second = learner.act(latent, goal, generator), learner.act(latent, goal, generator)
    assert first.shape == (500, ACTION) and first.dtype == torch.float32 and not first.requires_grad
    assert first.abs().max() <= 1
    assert not torch.equal(first, second) and not torch.equal(first, learner.act(latent, goal))
    assert torch.equal(first, make(name).act(latent, goal, draws(3)))
    assert torch.equal(before, torch.get_rng_state())


def test_an_update_learns_and_returns_numbers_on_the_device(name: str) -> None:
    learner, before = make(name), torch.get_rng_state()
    start = unpack(pack(learner.state_dict()))
    batch = next(batches(1))
    given = [part.clone() for part in batch]
    seen: set[str] = set()
    for _ in range(4):
        metrics = learner.update(batch, draws(4))
        seen |= metrics.keys()
        for value in metrics.values():
            assert value.shape == () and value.isfinite() and not value.requires_grad
    assert "value" in seen, "the mean return that is expected of the batch; the probes read it"
    assert all(torch.equal(a, b) for a, b in zip(given, batch, strict=True)), "the batch is the replay's own"
    assert any(not torch.equal(start[key], value) for key, value in learner.state_dict().items() if key in start)
    assert torch.equal(before, torch.get_rng_state())


def test_the_seed_decides_the_weights(name: str) -> None:
    latent, goal = torch.randn(2, 5, LATENT, generator=draws(2))
    actions = [make(name, seed).act(latent, goal) for seed in (0, 0, 1)]
    assert torch.equal(actions[0], actions[1]) and not torch.equal(actions[0], actions[2])


@pytest.mark.parametrize("on_disk", [True, False])
@pytest.mark.parametrize("updates", [0, 1, 5])
def test_goes_on_exactly_from_its_state(name: str, updates: int, on_disk: bool) -> None:
    one, other = make(name), make(name, seed=9)
    worlds = torch.randn(2, 3, LATENT, generator=draws(2))
    for batch in batches(updates):
        one.update(batch, draws(4))
        one.act(*worlds, draws(4))
    state = one.state_dict()
    other.load_state_dict(unpack(pack(state)) if on_disk else state)
    generators = draws(5), draws(5)
    for batch in batches(5, seed=6):
        metrics = [learner.update(batch, generator) for learner, generator in zip((one, other), generators, strict=True)]
        assert torch.equal(one.act(*worlds, generators[0]), other.act(*worlds, generators[1]))
        assert metrics[0].keys() == metrics[1].keys()
        assert all(torch.equal(value, metrics[1][key]) for key, value in metrics[0].items())
    states = one.state_dict(), other.state_dict()
    assert states[0].keys() == states[1].keys() and len(states[0]) > 0
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize("name", [name for name, entry in LEARNERS.items() if hasattr(entry.Config, "precision")])
def test_low_precision_is_nearly_the_same_and_leaves_weights_in_full(name: str) -> None:
    """One update from the same weights: losses within bfloat16's three digits, not equal, and every tensor still float32."""
    entry: Any = LEARNERS[name]
    full, low = (entry(entry.Config(precision=precision), LATENT, ACTION, draws(0)) for precision in ("float32", "bfloat16"))
    batch = next(batches(1))
    for _ in range(2):
        metrics = [learner.update(batch, draws(4)) for learner in (full, low)]
    for key, value in metrics[0].items():
        assert metrics[1][key].dtype == torch.float32
        assert float(metrics[1][key]) == pytest.approx(float(value), rel=0.05, abs=0.02), key
    assert not torch.equal(metrics[0]["critic_loss"], metrics[1]["critic_loss"])
    floating = [value for value in low.state_dict().values() if value.is_floating_point()]
    assert floating and all(value.dtype == torch.float32 for value in floating)
    latent, goal = torch.randn(2, 5, LATENT, generator=draws(2))
    assert low.act(latent, goal).dtype == torch.float32
    with pytest.raises(ValueError, match="precision must be auto, float32 or bfloat16"):
        entry(entry.Config(precision="half"), LATENT, ACTION, draws(0)).update(batch, draws(4))


# ---- TD3 beside stable-baselines3 ----


class Trained(NamedTuple):
    """What was seen of one update."""

    losses: Named
    gradients: Named
    """Those that the optimisers were given."""
    weights: Named


class Sides(NamedTuple):
    """The same weights twice. Networks by role, each as layers (weight [out, in], bias [out])."""

    ours: TD3
    theirs: SB3TD3


def layers(ensemble: Ensemble, member: int, gradient: bool) -> Named:
    """One member's parameters, or their gradients, under the names of `nn.Sequential(Linear, ReLU, …)`."""
    found: Named = {}
    for index, (weight, bias) in enumerate(zip(ensemble.weights, ensemble.biases, strict=True)):
        pair = (weight.grad, bias.grad) if gradient else (weight, bias)
        found |= {f"{2 * index}.weight": pair[0][member].T.clone(), f"{2 * index}.bias": pair[1][member, 0].clone()}
    return found


def prefixed(prefix: str, named: Named) -> Named:
    return {f"{prefix}.{key}": value.detach().clone() for key, value in named.items()}


def weights_of(sides: Sides) -> tuple[Named, Named]:
    ours, theirs = sides
    mine = prefixed("actor", layers(ours.actor, 0, False)) | prefixed("target_actor", layers(ours.target_actor, 0, False))
    its = prefixed("actor", theirs.actor.mu.state_dict()) | prefixed("target_actor", theirs.actor_target.mu.state_dict())
    for member in range(ours.config.critics):
        mine |= prefixed(f"critic{member}", layers(ours.critics, member, False))
        mine |= prefixed(f"target_critic{member}", layers(ours.target_critics, member, False))
        its |= prefixed(f"critic{member}", theirs.critic.q_networks[member].state_dict())
        its |= prefixed(f"target_critic{member}", theirs.critic_target.q_networks[member].state_dict())
    return mine, its


def watch_steps(optimiser: Adam, note: Callable[[], None]) -> None:
    """Call `note` before each step, with the gradients that it is given in the parameters' `grad`."""
    step = optimiser.step

    def watched(gradients: Sequence[Tensor], nth: int) -> None:
        for parameter, gradient in zip(optimiser.trained, gradients, strict=True):
            parameter.grad = gradient
        note()
        step(gradients, nth)

    optimiser.step = watched


def watch_gradients(sides: Sides, mine: Named, its: Named) -> None:
    """Fill `mine` and `its` with what each optimiser is given, at the moment it is."""
    ours, theirs = sides

    def grads(network: nn.Module) -> Named:
        return {key: parameter.grad for key, parameter in network.named_parameters() if parameter.grad is not None}

    def note_my_critics() -> None:
        for member in range(ours.config.critics):
            mine.update(prefixed(f"critic{member}", layers(ours.critics, member, True)))

    def note_its_critics(*_: object) -> None:
        for member in range(ours.config.critics):
            its.update(prefixed(f"critic{member}", grads(theirs.critic.q_networks[member])))

    watch_steps(ours.critic_optimiser, note_my_critics)
    theirs.critic.optimizer.register_step_pre_hook(note_its_critics)
    watch_steps(ours.actor_optimiser, lambda: mine.update(prefixed("actor", layers(ours.actor, 0, True))))
    theirs.actor.optimizer.register_step_pre_hook(lambda *_: its.update(prefixed("actor", grads(theirs.actor.mu))))


def both(config: TD3Config, updates: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Trained, Trained]]:
    """Train both for some updates on the same batches and smoothing noise; yield what was seen of each, after each."""
    ours = TD3(config, LATENT, ACTION, draws(0))
    # Were targets and online weights alike, a swap of them would go unseen; were no target action near ±1, a lack of clipping.
    for target, spread in ((ours.target_actor, 0.1), (ours.target_critics, 0.02)):
        generator = draws(1)
        with torch.no_grad():
            for parameter in target.parameters():
                parameter.add_(spread * torch.randn(parameter.shape, generator=generator))
    theirs = to_sb3(ours, buffer_size=1)
    theirs.set_logger(Logger(folder=None, output_formats=[]))
    sides, mine, its = Sides(ours, theirs), dict[str, Tensor](), dict[str, Tensor]()
    watch_gradients(sides, mine, its)
    replayed: list[ReplayBufferSamples] = []
    monkeypatch.setattr(theirs.replay_buffer, "sample", lambda *_, **__: replayed.pop())
    generator = draws(7)
    torch.manual_seed(7)  # theirs draws its smoothing noise, and nothing else, from the global generator
    for batch in batches(updates):
        mine.clear()
        its.clear()
        theirs.logger.name_to_value.clear()
        observation, after = ours.inputs(batch.latent, batch.goal), ours.inputs(batch.next_latent, batch.goal)
        never = torch.zeros(ROWS, 1)
        replayed.append(ReplayBufferSamples(observation, batch.action, after, never, batch.reward[:, None]))
        theirs.train(gradient_steps=1, batch_size=ROWS)
        metrics = ours.update(batch, generator)
        logged = {key: torch.tensor(float(value)) for key, value in theirs.logger.name_to_value.items()}
        my_weights, its_weights = weights_of(sides)
        yield (
            Trained({key: metrics[key] for key in ("critic_loss", "actor_loss") if key in metrics}, dict(mine), my_weights),
            Trained({key[6:]: value for key, value in logged.items() if key.endswith("loss")}, dict(its), its_weights),
        )


def assert_same(mine: Named, its: Named, tolerance: float) -> None:
    assert mine.keys() == its.keys()
    for key, value in mine.items():
        torch.testing.assert_close(value, its[key], rtol=tolerance, atol=tolerance, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("kind", [TD3Config, DDPGConfig])
def test_td3_is_stable_baselines3s(kind: type[TD3Config], monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses, gradients and weights over ten updates: smoothing, minimum of targets, delay and polyak step all take part."""
    config = kind(hidden=(256, 256), layer_norm=False, learning_rate=1e-3, discount=0.97, polyak=0.03, precision="float32")
    steps = list(both(config, 10, monkeypatch))
    late = set[str]() if kind is DDPGConfig else {"actor_loss"}
    assert [set(mine.losses) for mine, _ in steps[:2]] == [{"critic_loss", "actor_loss"} - late, {"critic_loss", "actor_loss"}]
    for mine, its in steps:
        assert_same(mine.losses, its.losses, 1e-5)
        assert_same(mine.gradients, its.gradients, 1e-5)
        assert_same(mine.weights, its.weights, 1e-5)
    for key, value in steps[0][0].weights.items():
        moved = (value - steps[-1][0].weights[key]).abs().max()
        assert moved > 1e-4, f"{key} has not been trained: nothing was compared"


def test_td3_with_layer_norm_has_it_in_the_critics_and_not_the_actor() -> None:
    learner = TD3(TD3Config(layer_norm=True), LATENT, ACTION, draws(0))
    assert [ensemble.layer_norm for ensemble in (learner.critics, learner.target_critics)] == [True, True]
    assert not learner.actor.layer_norm and not learner.target_actor.layer_norm


def test_td3_explores_by_a_gaussian_and_a_share_of_uniform_actions() -> None:
    count = 20_000
    learner = TD3(TD3Config(candidates=1, noise=0.1, uniform=0.25), LATENT, ACTION, draws(0))
    still = torch.zeros(count, LATENT)
    away = learner.act(still, still, draws(1)) - learner.act(still, still)
    share = (away.abs().amax(1) > 0.5).float().mean()  # no Gaussian goes five deviations; most uniform ones do
    start = learner.act(still[:1], still[:1])[0]
    within = 0.25 * (1 - torch.prod(((start + 0.5).clamp(max=1) - (start - 0.5).clamp(min=-1)) / 2))
    assert abs(share - within) < 0.015
    gaussian = away[away.abs().amax(1) < 0.3]
    assert abs(gaussian.std() - 0.1) < 0.02 and gaussian.mean().abs() < 0.01
