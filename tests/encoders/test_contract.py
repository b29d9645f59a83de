"""What every encoder promises, proven on each entry of the table."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from rig import tensors
from rig.encoders import ENCODERS, Encoder
from tests.encoders.backbones import tiny

SHAPE = (24, 24, 3)
SIZES = [32, 48, 64, 84, 96]
SIDES = {"world_models": 64}
"""Encoder -> the only side of a picture that it takes; every other refuses to be one of these."""
STATE_DIM = 5

every_encoder = pytest.mark.parametrize("name", ENCODERS)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shape_of(name: str) -> tuple[int, ...]:
    """Of one observation."""
    if ENCODERS[name].observes == "state":
        return (STATE_DIM,)
    return (SIDES[name], SIDES[name], 3) if name in SIDES else SHAPE


def silent(step: int, steps: int, metrics: dict[str, float]) -> None:
    """A report that nobody reads."""


def settings(name: str) -> Any:
    """Defaults, and what an encoder cannot be without; skips the test where that is not installed."""
    entry: Any = ENCODERS[name]
    return tiny() if name == "pretrained" else entry.Config()


def make(name: str, seed: int = 0) -> Encoder:
    """An encoder that trains for a moment only."""
    entry: Any = ENCODERS[name]
    config = settings(name)
    if "training" in {field.name for field in dataclasses.fields(config)}:
        config = dataclasses.replace(config, training=dataclasses.replace(config.training, steps=3, batch=8))
    return entry(config, shape_of(name), seeded(seed))


def observations(name: str, count: int, seed: int = 1) -> Tensor:
    if ENCODERS[name].observes == "frame":
        return torch.randint(0, 256, (count, *shape_of(name)), generator=seeded(seed), dtype=torch.uint8)
    return torch.randn(count, STATE_DIM, generator=seeded(seed))


def episodes(name: str, seed: int = 1) -> Tensor:
    """Four of five observations each."""
    return observations(name, 20, seed).unflatten(0, (4, 5))


def fitted(name: str, seed: int = 0) -> Encoder:
    encoder = make(name, seed)
    encoder.fit(episodes(name), seeded(2), silent)
    return encoder


@every_encoder
def test_the_table_names_its_settings_and_its_source(name: str) -> None:
    entry: Any = ENCODERS[name]
    assert entry.Config().name == name
    assert "Source:" in entry.__doc__ and entry.__doc__.splitlines()[0].endswith(".")


@every_encoder
def test_codes_are_one_float_vector_an_observation(name: str) -> None:
    encoder = fitted(name, seed=1)  # of 0, a cell of vq_vae has the same symbol in all, as some CPUs round
    latent = encoder.encode(observations(name, 7))
    assert latent.shape == (7, encoder.latent_dim) and latent.dtype == torch.float32
    assert bool(latent.isfinite().all()) and float(latent.std(0).min()) > 0
    assert encoder.encode(observations(name, 1)).shape == (1, encoder.latent_dim)


@every_encoder
def test_encoding_is_deterministic_has_no_gradient_and_leaves_what_it_reads_alone(name: str) -> None:
    encoder, observed = fitted(name), observations(name, 7)
    before = observed.clone()
    torch.manual_seed(0)
    first = encoder.encode(observed)
    torch.manual_seed(1)
    second = encoder.encode(observed)
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert torch.equal(observed, before)


@every_encoder
def test_an_observation_has_the_same_code_alone_and_in_a_batch(name: str) -> None:
    encoder, observed = fitted(name), observations(name, 600)  # more than are encoded at a time
    together = encoder.encode(observed)
    for row in (0, 300, 511, 512, 599):
        torch.testing.assert_close(encoder.encode(observed[row : row + 1])[0], together[row], rtol=0, atol=1e-4)


@every_encoder
def test_the_same_seeds_make_the_same_encoder(name: str) -> None:
    first, second = fitted(name), fitted(name)
    observed = observations(name, 5, seed=3)
    assert torch.equal(first.encode(observed), second.encode(observed))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


@every_encoder
def test_every_fit_moves_the_version(name: str) -> None:
    encoder = make(name)
    versions = [encoder.version]
    before = encoder.encode(observations(name, 5))
    for seed in (4, 5):
        encoder.fit(episodes(name, seed), seeded(seed), silent)
        versions.append(encoder.version)
    assert len(set(versions)) == 3
    assert not torch.equal(before, encoder.encode(observations(name, 5)))


@every_encoder
def test_encoding_and_decoding_do_not_move_the_version(name: str) -> None:
    encoder = fitted(name)
    version, before = encoder.version, {k: v.clone() for k, v in encoder.state_dict().items()}
    latent = encoder.encode(observations(name, 5))
    if encoder.can_decode:
        encoder.decode(latent)
    assert encoder.version == version
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, before[key])


@every_encoder
def test_weights_and_version_survive_a_file(name: str) -> None:
    encoder = fitted(name)
    encoder.fit(episodes(name, seed=6), seeded(6), silent)
    other = make(name, seed=7)
    other.load_state_dict(tensors.unpack(tensors.pack(encoder.state_dict())))
    observed = observations(name, 5)
    assert other.version == encoder.version > 0
    assert torch.equal(other.encode(observed), encoder.encode(observed))
    if encoder.can_decode:
        latent = encoder.encode(observed)
        assert torch.equal(other.decode(latent), encoder.decode(latent))


@pytest.mark.parametrize("name", [name for name, entry in ENCODERS.items() if entry.observes == "frame"])
@pytest.mark.parametrize("size", SIZES)
def test_pictures_of_the_usual_sizes_fit_or_are_refused(name: str, size: int) -> None:
    entry: Any = ENCODERS[name]
    if size != SIDES.get(name, size):
        with pytest.raises(ValueError, match=f"got {size}×{size}: expected task.size={SIDES[name]}"):
            entry(settings(name), (size, size, 3), seeded(0))
        return
    encoder = entry(settings(name), (size, size, 3), seeded(0))
    frames = torch.randint(0, 256, (2, size, size, 3), generator=seeded(1), dtype=torch.uint8)
    latent = encoder.encode(frames)
    assert latent.shape == (2, encoder.latent_dim)
    if encoder.can_decode:
        assert encoder.decode(latent).shape == frames.shape


@every_encoder
def test_what_cannot_be_decoded_is_refused(name: str) -> None:
    encoder = fitted(name)
    latent = encoder.encode(observations(name, 6))
    if not encoder.can_decode:
        with pytest.raises(TypeError, match="no decoder"):
            encoder.decode(latent)
        return
    pictures = encoder.decode(latent)
    assert pictures.shape == (6, *shape_of(name)) and pictures.dtype == torch.uint8 and not pictures.requires_grad
    # A picture depends on its own code only, and on that it does depend.
    assert int((encoder.decode(latent[2:3])[0].int() - pictures[2].int()).abs().max()) <= 1
    assert not torch.equal(encoder.decode(latent + 3), pictures)


@every_encoder
def test_fitting_reports_its_progress_and_closes_with_finite_metrics(name: str) -> None:
    calls: list[tuple[int, int]] = []
    encoder = make(name)
    metrics = encoder.fit(episodes(name), seeded(2), lambda done, total, _: calls.append((done, total)))
    assert calls and calls[-1][0] == calls[-1][1]
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert all(math.isfinite(value) for value in metrics.values())
