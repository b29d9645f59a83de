"""Exchange: things are told from the agent and from each other, and lie elsewhere only where that moves nothing."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from rig.replay.exchange import Exchange
from rig.replay.ring import Sample
from tests.run.runs import TINY, rig

HAND, ONE, OTHER = slice(0, 2), slice(2, 4), slice(4, 6)
TOUCH = 0.3
"""Distance below which the hand pushes a disc before it."""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Lived(NamedTuple):
    """Episodes of a hand that pushes two discs about: states f32[E, T + 1, 6], codes of them f32[E, T + 1, 6], actions."""

    state: Tensor
    code: Tensor
    action: Tensor
    mixing: Tensor


def lived(noise: float) -> Lived:
    """The hand wanders through [-1, 1]² by what it is told, and a disc that it meets is pushed to its rim."""
    draw, worlds = seeded(0), 40
    state = torch.rand(worlds, 6, generator=draw) * 2 - 1
    action = torch.zeros(worlds, 2)
    states, actions = [state], []
    for _ in range(300):
        fresh = torch.rand(worlds, 1, generator=draw) < 1 / 6
        action = torch.where(fresh, torch.rand(worlds, 2, generator=draw) * 2 - 1, action)
        state = state.clone()
        state[:, HAND] = (state[:, HAND] + 0.1 * action).clamp(-1, 1)
        for disc in (ONE, OTHER):
            apart = state[:, disc] - state[:, HAND]
            far = apart.norm(dim=1, keepdim=True)
            state[:, disc] = torch.where(far < TOUCH, state[:, HAND] + apart / far * TOUCH, state[:, disc])
        states.append(state)
        actions.append(action)
    found = torch.stack(states, 1)
    mixing = torch.linalg.qr(torch.randn(6, 6, generator=draw)).Q + 0.3 * torch.randn(6, 6, generator=draw)
    code = found @ mixing + noise * torch.randn(found.shape, generator=draw)
    return Lived(found, code, torch.stack(actions, 1), mixing)


@pytest.fixture(scope="module", params=[0.0, 0.003], ids=["exact", "noisy"])
def seen(request: pytest.FixtureRequest) -> tuple[Lived, Exchange]:
    """What was lived through, in exact codes and in such with an error, and an exchange that was fitted to it."""
    found = lived(request.param)
    exchange = Exchange(6, 2, share=1.0)
    exchange.fit(found.code, found.action, len(found.code), seeded(1))
    return found, exchange


def sampled(found: Lived) -> tuple[Sample, Tensor, Tensor]:
    """A sample of 8 batches of 200 whose goals are codes of other frames; and the true states before and after."""
    draw = seeded(2)
    episode = torch.randint(len(found.code), (8, 200), generator=draw)
    step = torch.randint(found.action.shape[1], (8, 200), generator=draw)
    goal = found.code[torch.randint(len(found.code), (8, 200), generator=draw), step]
    reached = found.code[episode, step + 1][:, :, None]
    sample = Sample(found.code[episode, step], goal, found.action[episode, step], reached, torch.ones(8, 200), None)
    return sample, found.state[episode, step], found.state[episode, step + 1]


def test_parts_are_the_hand_and_two_things(seen: tuple[Lived, Exchange]) -> None:
    found, exchange = seen
    assert exchange.count == 2
    told = (found.mixing @ exchange.parts).abs()  # f32[6, 6], how much of each number of the state is in each part
    told = told / told.norm(dim=0)
    assert told[HAND, :2].norm(dim=0).min() > 0.95
    for thing in exchange.things[:2]:
        assert thing.sum() == 2
        assert max(told[ONE][:, thing].norm(dim=0).min(), told[OTHER][:, thing].norm(dim=0).min()) > 0.95


def test_things_that_rest_lie_elsewhere_with_their_goals_and_touch_nothing(seen: tuple[Lived, Exchange]) -> None:
    found, exchange = seen
    sample, before, after = sampled(found)
    changed = exchange(sample, seeded(3))
    back = torch.linalg.inv(found.mixing)
    now, then, goal = (code @ back for code in (changed.latent, changed.next_latent, changed.goal))
    was = sample.goal @ back
    for disc in (ONE, OTHER):
        moved = (after[..., disc] - before[..., disc]).norm(dim=2) > 0.02
        elsewhere = (now[..., disc] - before[..., disc]).norm(dim=2) > 0.15
        assert moved.float().mean() > 0.015 and elsewhere.float().mean() > 0.4
        assert (elsewhere & moved).float().mean() < 0.003
        assert (now[..., disc] - then[..., disc]).norm(dim=2)[elsewhere].median() < 0.02  # it rests there too
        assert ((goal - was)[..., disc].norm(dim=2) > 0.05)[elsewhere].float().mean() > 0.9
        apart = torch.minimum(*((hand[..., HAND] - now[..., disc]).norm(dim=2) for hand in (now, then)))
        assert (apart[elsewhere] < 0.9 * TOUCH).float().mean() < 0.015  # where put blindly, one in fifteen would be
    assert (now - before)[..., HAND].norm(dim=2).median() < 0.08  # parts are not told apart perfectly


def test_what_is_not_exchanged_stays_to_the_last_bit(seen: tuple[Lived, Exchange]) -> None:
    found, exchange = seen
    sample = sampled(found)[0]
    few = Exchange(6, 2, share=0.2)
    few.load_state_dict(exchange.state_dict())
    few.resume(len(found.code))
    changed = few(sample, seeded(3))
    same = (changed.latent == sample.latent).all(2)
    assert 0.5 < same.float().mean() < 0.9
    assert torch.equal(changed.goal[same], sample.goal[same]) and torch.equal(changed.reached[same], sample.reached[same])


def test_where_nothing_rests_or_nothing_is_known_yet_samples_stay_as_they_are() -> None:
    found = lived(0.0)
    sample = sampled(found)[0]
    assert Exchange(6, 2, share=1.0)(sample, seeded(0)) is sample
    alone = Exchange(2, 2, share=1.0)
    assert not alone.due(1000) and alone(sample, seeded(0)) is sample
    still = found.code[:, :1].expand(-1, 301, -1)  # nothing ever moved
    never = Exchange(6, 2, share=1.0)
    never.fit(still, found.action, len(still), seeded(0))
    assert torch.isfinite(never(sample, seeded(0)).latent).all()


@pytest.mark.parametrize("still", [[0], [0, 1, 4, 5]])
def test_coordinates_that_never_moved_make_the_parts_neither_singular_nor_random(still: list[int]) -> None:
    found = lived(0.0)
    code = found.state.clone()[..., [2, 3, 0, 1, 4, 5]]
    code[..., still] = 0.5
    fits = []
    for _ in range(2):
        exchange = Exchange(6, 2, share=1.0)
        exchange.fit(code, found.action, len(code), seeded(1))
        fits.append(exchange.parts)
    assert torch.equal(*fits)
    sample = sampled(found._replace(code=code))[0]
    changed = exchange(sample, seeded(3))
    assert torch.isfinite(changed.latent).all()
    assert (changed.latent - sample.latent)[..., still].abs().max() < 1e-3


def test_where_steps_tell_of_fewer_directions_than_an_action_has_nothing_is_exchanged() -> None:
    found = lived(0.0)
    code = torch.cat((found.state[..., :1], 0 * found.state[..., :1], found.state[..., 2:]), -1)
    exchange = Exchange(6, 2, share=1.0)
    exchange.fit(code, found.action * torch.tensor([1.0, 0.0]), len(code), seeded(1))
    sample = sampled(found._replace(code=code))[0]
    assert exchange.count == 0 and exchange(sample, seeded(3)) is sample


def test_it_is_fitted_with_the_first_episode_and_whenever_there_are_twice_as_many() -> None:
    exchange = Exchange(6, 2, share=1.0)
    due = []
    for episodes in range(20):
        if exchange.due(episodes):
            due.append(episodes)
            exchange.resume(episodes)
    assert due == [1, 2, 4, 8, 16]


def test_what_cannot_be_exchanged_is_refused_before_anything_is_collected() -> None:
    pixels = ("task=reach", "encoder=pixels", "goals=replayed", "frame=identity", "relabel.exchange=0.5")
    assert "at most 256 coordinates, and these are 6,912; try relabel.exchange=0" in rig("train", *TINY, *pixels).line
    state = ("task=push", "encoder=oracle", "relabel.exchange=0.5")
    assert rig("train", *TINY, *state, "n_step=3").line == "rig: relabel.exchange is of single steps, got n_step=3; try n_step=1"
    shares = ("relabel.keep=0", "relabel.imagined=0", "relabel.future=1")
    assert "reads states, which relabel.exchange leaves" in rig("train", *TINY, *state, *shares, "reward=oracle").line
