"""Random features: never trained, and yet they tell where a small thing is."""

from __future__ import annotations

import torch

from rig.encoders.random_conv import RandomConv, RandomConvConfig
from rig.probe import probe
from tests.encoders.test_spatial_vae import moving_square, seeded, silent


def test_its_convolutions_are_drawn_by_the_generator_and_never_trained() -> None:
    frames, _ = moving_square(200, 48, 6, seed=0)
    first, same, other = (RandomConv(RandomConvConfig(), (48, 48, 3), seeded(seed)) for seed in (0, 0, 1))
    drawn = {name: value.clone() for name, value in first.trunk.state_dict().items()}
    first.fit(frames[None], seeded(1), silent)
    for name, value in first.trunk.state_dict().items():
        assert torch.equal(value, drawn[name]) and torch.equal(value, same.trunk.state_dict()[name])
        assert not torch.equal(value, other.trunk.state_dict()[name])
    assert not any(parameter.requires_grad for parameter in first.parameters())
    assert first.refit(frames, None, 5, seeded(2), silent) == {} and first.version == 1


def test_it_tells_where_a_small_square_is() -> None:
    frames, _ = moving_square(1000, 48, 6, seed=0)
    fresh, place = moving_square(1000, 48, 6, seed=9)
    encoder = RandomConv(RandomConvConfig(), (48, 48, 3), seeded(0))
    encoder.fit(frames[None], seeded(1), silent)
    assert min(found.r2 for found in probe(encoder.encode(fresh), place.float(), seeded(2))) > 0.9
