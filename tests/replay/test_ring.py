"""The ring, filled with frames that say which they are: whatever is sampled can be read off."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rig.replay import RelabelConfig, Ring
from rig.replay.ring import Sample

HORIZON, WORLDS = 5, 3
ALL_KEPT, ALL_FUTURE = RelabelConfig("rig", 1.0, 0.0, 0.0), RelabelConfig("rig", 0.0, 0.0, 1.0)
MIXED = RelabelConfig("rig", 0.25, 0.25, 0.5)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def film(episode: Tensor, step: int) -> Tensor:
    """Frames u8[N, 1, 1, 3] of episodes: (number, step, their sum)."""
    return torch.stack((episode, torch.full_like(episode, step), episode + step), 1).to(torch.uint8)[:, None, None]


def read(frames: Tensor) -> Tensor:
    """What an encoder would make of frames: codes f32[B, 2] = (number, step)."""
    return frames[:, 0, 0, :2].float()


def goal_of(episode: Tensor) -> Tensor:
    return torch.stack((-episode.float() - 1, torch.full_like(episode, -7).float()), 1)


def empty(capacity: int = 60, worlds: int = WORLDS, state_dim: int = 0) -> Ring:
    return Ring(capacity, HORIZON, worlds, (1, 1, 3), torch.uint8, 2, 2, torch.device("cpu"), state_dim=state_dim)


def play(ring: Ring, steps: int, version: int = 0) -> Ring:
    """Go on for `steps` steps of every world; actions are (number, step) too."""

    def state(frames: Tensor) -> Tensor | None:
        return 10 * read(frames) if "state" in ring.arrays else None

    for _ in range(steps):
        if ring.step == ring.horizon:
            episode = torch.arange(ring.begun, ring.begun + ring.num_envs)
            frames = film(episode, 0)
            ring.begin(frames, read(frames), goal_of(episode), version, state(frames))
        episode = torch.arange(ring.begun - ring.num_envs, ring.begun)
        action = torch.stack((episode, torch.full_like(episode, ring.step)), 1).float()
        frames = film(episode, ring.step + 1)
        ring.append(action, frames, read(frames), version, state(frames))
    return ring


def one_batch(sample: Sample) -> Sample:
    """Its first."""
    states = sample.states and (sample.states[0][0], sample.states[1][0])
    return Sample(*(part[0] for part in sample[:-1]), states)


def draw(ring: Ring, batch: int, config: RelabelConfig = ALL_KEPT, seed: int = 0, version: int = 0) -> tuple[Sample, slice]:
    """One batch."""
    sample, imagined = ring.sample(1, batch, config, version, seeded(seed))
    return one_batch(sample), imagined


def storage(ring: Ring) -> dict[str, Tensor]:
    return {name: getattr(ring, name) for name in ("observed", "latent", "action", "goal")}


def same_samples(one: Ring, other: Ring) -> bool:
    pairs = zip(draw(one, 500, MIXED)[0][:-1], draw(other, 500, MIXED)[0][:-1], strict=True)
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in pairs)


# Of a ring of 4 rounds of 5 steps: the first step, a round's end, the middle, just full, wrapped, and more than twice round.
PLAYED = pytest.mark.parametrize("steps", [1, 5, 6, 17, 20, 21, 25, 33, 43, 52])


@PLAYED
def test_next_is_next_and_never_across_an_episodes_end(steps: int) -> None:
    sample, _ = draw(play(empty(), steps), 2000)
    assert torch.equal(sample.next_latent, sample.latent + torch.tensor([0.0, 1.0]))
    assert torch.equal(sample.action, sample.latent)
    assert float(sample.latent[:, 1].max()) < HORIZON


@PLAYED
def test_visited_goals_are_frames_of_any_episode_after_a_step(steps: int) -> None:
    ring = play(empty(), steps)
    sample, _ = draw(ring, 4000, RelabelConfig("rig", 0.0, 0.0, 0.25, 0.75))
    later, (number, step) = sample.goal[:1000] - sample.latent[:1000], sample.goal[1000:].T
    assert bool((later[:, 0] == 0).all() and (later[:, 1] > 0).all())
    steps_of = {e: HORIZON if e < ring.begun - WORLDS else ring.step for e in range(max(0, ring.begun - ring.rows), ring.begun)}
    there = {(e, s + 1) for e, length in steps_of.items() for s in range(length)}
    assert set(zip(number.tolist(), step.tolist(), strict=True)) == there


@PLAYED
def test_several_steps_end_with_the_episode_and_those_between_are_theirs(steps: int) -> None:
    ring = play(empty(), steps)
    sample = one_batch(ring.sample(1, 2000, ALL_KEPT, 0, seeded(0), 3)[0])
    number, first = sample.latent.T
    last = torch.where(number >= ring.begun - WORLDS, ring.step, HORIZON)
    assert torch.equal(sample.steps, (last - first).clamp(max=3))
    assert torch.equal(sample.next_latent, torch.stack((number, first + sample.steps), 1))
    for step in (1, 2):
        between = torch.stack((number, torch.minimum(first + step, first + sample.steps)), 1)
        assert torch.equal(sample.reached[:, step - 1], between)
    assert torch.equal(sample.latent, draw(ring, 2000)[0].latent), "what is drawn depends on nothing else"


@PLAYED
def test_states_are_those_of_what_was_reached_and_of_achieved_goals(steps: int) -> None:
    ring = play(empty(state_dim=2), steps)
    sample, imagined = ring.sample(2, 400, MIXED, 0, seeded(0), 3)
    assert sample.states is not None
    reached, goal = sample.states
    assert torch.equal(reached, 10 * sample.reached)
    assert torch.equal(goal[:, imagined.stop :], 10 * sample.goal[:, imagined.stop :])
    assert bool(goal[:, : imagined.stop].isnan().all())
    plain = play(empty(), steps).sample(2, 400, MIXED, 0, seeded(0), 3)[0]
    assert plain.states is None and torch.equal(plain.goal[:, : imagined.start], sample.goal[:, : imagined.start])
    assert torch.equal(plain.reached, sample.reached)


@PLAYED
def test_every_transition_that_the_ring_still_holds_is_drawn_and_no_other(steps: int) -> None:
    ring = play(empty(), steps)
    begun = -(-steps // HORIZON) * WORLDS
    last = steps - (begun // WORLDS - 1) * HORIZON
    held = range(max(0, begun - 4 * WORLDS), begun)
    expected = {(n, t) for n in held for t in range(last if n >= begun - WORLDS else HORIZON)}
    sample, _ = draw(ring, 4000)
    assert {(int(n), int(t)) for n, t in sample.latent} == expected
    assert len(ring) == len(expected)


@pytest.mark.parametrize("steps", [13, 34])
def test_transitions_are_drawn_uniformly(steps: int) -> None:
    ring, batch = play(empty(), steps), 60_000
    sample, _ = draw(ring, batch, seed=5)
    _, seen = (sample.latent[:, 0] * HORIZON + sample.latent[:, 1]).unique(return_counts=True)
    assert len(seen) == len(ring)
    mean = batch / len(ring)
    chi_square, freedom = float(((seen - mean) ** 2 / mean).sum()), len(ring) - 1
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5


@PLAYED
def test_rows_have_the_goal_that_their_share_says(steps: int) -> None:
    ring, batch = play(empty(), steps), 4000
    sample, imagined = draw(ring, batch, MIXED)
    assert imagined == slice(1000, 2000)
    assert torch.equal(sample.goal[:1000], goal_of(sample.latent[:1000, 0].long()))
    ahead = (sample.goal - sample.latent)[2000:]
    assert torch.equal(ahead[:, 0], torch.zeros(2000))  # of the same episode
    assert float(ahead[:, 1].min()) == 1  # later, the very next frame included
    lasts = torch.where(sample.goal[2000:, 0] >= ring.begun - WORLDS, ring.step, HORIZON)
    assert bool((sample.goal[2000:, 1] <= lasts).all()) and bool((sample.goal[2000:, 1] == lasts).any())


def test_future_goals_are_uniform_over_what_is_left_of_the_episode() -> None:
    sample, _ = draw(play(empty(), 23), 40_000, ALL_FUTURE)
    for step in range(HORIZON):
        rows = (sample.latent[:, 1] == step) & (sample.latent[:, 0] < 12)  # closed episodes
        share = torch.bincount(sample.goal[rows, 1].long(), minlength=HORIZON + 1) / rows.sum()
        expected = torch.where(torch.arange(HORIZON + 1) > step, 1 / (HORIZON - step), 0.0)
        torch.testing.assert_close(share, expected, rtol=0, atol=0.02)


def test_batches_drawn_at_once_are_batches() -> None:
    """Each has its own transitions, and in its own rows the shares of goals that a batch has."""
    ring = play(empty(), 23)
    several, imagined = ring.sample(3, 400, MIXED, 0, seeded(0))
    assert imagined == slice(100, 200) and [part.shape[:2] for part in several[:-1]] == [(3, 400)] * 5
    for latent, goal, action, after in zip(several.latent, several.goal, several.action, several.next_latent, strict=True):
        assert torch.equal(after, latent + torch.tensor([0.0, 1.0])) and torch.equal(action, latent)
        assert torch.equal(goal[:100], goal_of(latent[:100, 0].long()))
        assert torch.equal(goal[200:, 0], latent[200:, 0]) and bool((goal[200:, 1] > latent[200:, 1]).all())
    assert not torch.equal(several.latent[0], several.latent[1])


def test_the_choice_is_the_generators() -> None:
    ring = play(empty(), 23)
    for one, other in zip(draw(ring, 50, MIXED, seed=1)[0][:-1], draw(ring, 50, MIXED, seed=1)[0][:-1], strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(draw(ring, 50, seed=1)[0].latent, draw(ring, 50, seed=2)[0].latent)


def test_sampling_never_writes_to_storage() -> None:
    ring = play(empty(), 23)
    before = {name: value.clone() for name, value in storage(ring).items()}
    for config in (ALL_KEPT, ALL_FUTURE, MIXED):
        sample, imagined = draw(ring, 300, config)
        sample.goal[imagined] = 99.0
        for value in sample[:-1]:
            value.fill_(77.0)  # the caller may do what it likes
    for name, value in storage(ring).items():
        assert torch.equal(value, before[name]), name
    assert (ring.begun, ring.step, ring.version) == (15, 3, 0)


def test_a_stale_code_can_be_neither_stored_nor_sampled() -> None:
    ring = play(empty(), 7)
    frames = film(torch.arange(WORLDS), 0)
    with pytest.raises(ValueError, match="stale codes: the ring holds encoder version 0, the encoder is at 1"):
        draw(ring, 10, version=1)
    with pytest.raises(ValueError, match="stale codes"):
        ring.append(torch.zeros(WORLDS, 2), frames, read(frames), version=1)
    play(ring, 3)
    with pytest.raises(ValueError, match="stale codes"):
        ring.begin(frames, read(frames), goal_of(torch.arange(WORLDS)), version=1)
    assert (ring.begun, ring.step) == (6, 5)


@pytest.mark.parametrize("steps", [7, 23, 34])
def test_a_refresh_encodes_every_stored_frame_again(steps: int) -> None:
    ring = play(empty(), steps)
    ring.refresh(lambda frames: 10 * read(frames) + 3, version=1)
    with pytest.raises(ValueError, match="stale"):
        draw(ring, 10, version=0)
    sample, _ = draw(ring, 3000, ALL_FUTURE, version=1)
    assert torch.equal(sample.latent, 10 * sample.action + 3)
    assert torch.equal(sample.next_latent, sample.latent + torch.tensor([0.0, 10.0]))
    assert torch.equal(sample.goal[:, 0], sample.latent[:, 0])
    assert len(sample.latent.unique(dim=0)) == len(ring)
    play(ring, 1, version=1)


@PLAYED
@pytest.mark.parametrize("block", [1, 14, 512])
def test_a_refresh_reads_every_written_frame_once_and_no_other(steps: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rig.replay.ring.BLOCK", block)
    ring = play(empty(), steps)
    ring.latent.fill_(torch.nan)
    seen: list[Tensor] = []

    def encode(frames: Tensor) -> Tensor:
        assert len(frames) <= max(block, HORIZON + 1)
        seen.append(read(frames))
        return read(frames)

    ring.refresh(encode, version=1)
    held = [(n, t) for n in range(max(0, ring.begun - ring.rows), ring.begun) for t in range(HORIZON + 1)]
    expected = {(n, t) for n, t in held if n < ring.begun - WORLDS or t <= ring.step}
    assert sorted(torch.cat(seen).tolist()) == sorted(map(list, expected))
    for number, step in held:
        code = ring.latent[number % ring.rows, step]
        assert code.tolist() == [number, step] if (number, step) in expected else bool(code.isnan().all())
    assert int((~ring.latent.isnan()).sum()) == 2 * len(expected) and ring.version == 1


def test_a_refresh_of_an_empty_ring_encodes_nothing() -> None:
    ring = empty()
    ring.refresh(lambda frames: pytest.fail("nothing is written"), version=3)
    assert ring.version == 3


def test_episodes_are_begun_when_the_last_ones_are_complete_and_not_before() -> None:
    ring = play(empty(), 3)
    frames = film(torch.arange(WORLDS), 0)
    with pytest.raises(ValueError, match="have 3 of 5 steps"):
        ring.begin(frames, read(frames), goal_of(torch.arange(WORLDS)), version=0)
    play(ring, 2)
    with pytest.raises(ValueError, match="complete: begin new ones"):
        ring.append(torch.zeros(WORLDS, 2), frames, read(frames), version=0)


def test_transitions_are_counted_as_they_come() -> None:
    ring = empty()
    assert len(ring) == 0
    for step in range(1, 41):
        held = min(step, 15 + (step - 1) % HORIZON + 1)  # three whole rounds and the one that is being written
        assert len(play(ring, 1)) == WORLDS * held


@pytest.mark.parametrize(("capacity", "worlds", "rows"), [(60, 3, 12), (61, 3, 15), (1, 1, 2), (1, 4, 8), (50, 1, 10)])
def test_the_ring_has_room_for_what_it_was_asked_for(capacity: int, worlds: int, rows: int) -> None:
    ring = empty(capacity, worlds)
    assert ring.rows == rows and rows * HORIZON >= capacity
    play(ring, 3 * HORIZON + 1)  # the smallest one works too
    sample, _ = draw(ring, 200, MIXED)
    assert torch.equal(sample.next_latent, sample.latent + torch.tensor([0.0, 1.0]))


def test_a_transition_of_the_default_picture_needs_little_more_than_its_frame() -> None:
    ring = Ring(100, 50, 1, (48, 48, 3), torch.uint8, 8, 2, torch.device("cpu"))
    assert 6912 < ring.bytes_per_transition <= 7100
    held = sum(value.numel() * value.element_size() for value in storage(ring).values())
    assert ring.bytes_per_transition * 100 == held


@pytest.mark.parametrize("steps", [1, 8, 20, 34, 52])
def test_episodes_go_to_disk_and_back(steps: int) -> None:
    """As a checkpoint does it: closed episodes in chunks, the open ones apart, counters beside them."""
    ring, back = play(empty(), steps), empty()
    back.begun, back.step, back.version = ring.begun, ring.step, ring.version
    oldest, first_open = max(0, ring.begun - ring.rows), ring.begun - WORLDS
    middle = (oldest + first_open) // 2
    for first, last in ((oldest, middle), (middle, first_open), (first_open, ring.begun)):
        chunk = ring.episodes(first, last)
        assert all(len(value) == last - first for value in chunk.values())
        back.put(first, chunk)
    assert same_samples(ring, back)
    assert same_samples(play(ring, 9), play(back, 9))  # and both go on alike


def test_episodes_fit_into_a_bigger_ring() -> None:
    """As where a run is resumed for longer."""
    ring, bigger = play(empty(), 18), empty(capacity=120)
    bigger.begun, bigger.step, bigger.version = ring.begun, ring.step, ring.version
    bigger.put(0, ring.episodes(0, ring.begun))
    assert same_samples(ring, bigger)
    play(bigger, 17)
    assert len(bigger) == 35 * WORLDS
    sample, _ = draw(bigger, 4000, MIXED)
    assert torch.equal(sample.next_latent, sample.latent + torch.tensor([0.0, 1.0]))
    assert len(sample.latent.unique(dim=0)) == len(bigger)


def test_what_is_taken_out_is_a_copy_numbered_from_the_start() -> None:
    ring = play(empty(), 34)  # 21 episodes begun, the last 12 are held
    chunk = ring.episodes(10, 14)
    assert chunk["observed"][:, 2, 0, 0].tolist() == [[n, 2, n + 2] for n in range(10, 14)]
    assert torch.equal(chunk["goal"], goal_of(torch.arange(10, 14)))
    for value in chunk.values():
        value.zero_()
    assert torch.equal(ring.episodes(10, 14)["goal"], goal_of(torch.arange(10, 14)))


@pytest.mark.parametrize("asked", [(8, 12), (0, 3), (20, 22), (15, 14), (-1, 3)])
def test_episodes_that_are_gone_or_yet_to_come_are_refused(asked: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="not in the ring, which holds the last 12 of 21"):
        play(empty(), 34).episodes(*asked)


def test_states_are_stored_as_frames_are() -> None:
    """What an oracle reads: f32 vectors."""
    ring = Ring(20, 2, 1, (3,), torch.float32, 3, 1, torch.device("cpu"))
    states: list[Any] = [torch.rand(1, 3, generator=seeded(i)) for i in range(3)]
    ring.begin(states[0], states[0], torch.zeros(1, 3), 4)
    for state in states[1:]:
        ring.append(torch.zeros(1, 1), state, state, 4)
    assert torch.equal(ring.observed[0], torch.cat(states))
    assert ring.version == 4
