"""Goals from pictures in a folder: every picture is a goal, and a folder without any is refused before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rig.errors import UserError
from rig.goals import Dataset
from rig.goals.dataset import DatasetConfig
from rig.video import write_png


class Brightness:
    """A code of one number: a picture's mean."""

    observes = "frame"

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def encode(self, observed: Tensor) -> Tensor:
        return self.gain * observed.flatten(1).float().mean(1, keepdim=True)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three grey pictures of different sizes, something else, and a picture further down."""
    for grey, side in ((10, 8), (90, 16), (200, 31)):
        write_png(tmp_path / f"{grey}.png", np.full((side, side, 3), grey, np.uint8))
    (tmp_path / "notes.txt").write_text("none of these")
    (tmp_path / "deeper").mkdir()
    write_png(tmp_path / "deeper" / "0.png", np.zeros((8, 8, 3), np.uint8))
    return tmp_path


def attached(folder: Path | str, encoder: Any = None, codes: int = 8) -> Dataset:
    sampler = Dataset(DatasetConfig(folder=str(folder), codes=codes), 1)
    sampler.attach(encoder or Brightness(), (8, 8, 3))
    return sampler


def test_every_picture_is_a_goal_as_often_as_any_other_whatever_was_explored(folder: Path) -> None:
    sampler = attached(folder)
    sampler.prepare()
    sampler.fit(torch.full((50, 1), 1e6), torch.full((50,), 0.02, dtype=torch.float64))
    goals = sampler.sample(6000, seeded(0))
    values, counts = goals[:, 0].unique(return_counts=True)
    assert values.tolist() == [10, 90, 200]
    assert (counts / 6000).tolist() == pytest.approx([1 / 3] * 3, abs=0.03)
    near, far = sampler.log_prob(torch.tensor([[90.0], [5000.0]]))
    assert near > far


def test_more_pictures_than_there_is_room_for_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"has 3 pictures, more than goals\.codes=2; try goals\.codes=3$"):
        attached(folder, codes=2).prepare()
    attached(folder, codes=3).prepare()


def test_its_state_is_its_goals_and_needs_no_pictures(folder: Path, tmp_path: Path) -> None:
    sampler = attached(folder)
    sampler.fit(torch.zeros(4, 1))
    assert not any("encoder" in name or "pictures" in name for name in sampler.state_dict())
    other = attached(tmp_path / "gone")
    other.load_state_dict(sampler.state_dict())
    assert torch.equal(other.sample(20, seeded(1)), sampler.sample(20, seeded(1)))


def test_a_refitted_encoder_codes_the_pictures_anew(folder: Path) -> None:
    encoder = Brightness()
    sampler = attached(folder, encoder)
    sampler.fit(torch.zeros(4, 1))
    encoder.gain = -2.0
    sampler.fit(torch.zeros(4, 1))
    assert set(sampler.sample(200, seeded(0))[:, 0].tolist()) == {-20.0, -180.0, -400.0}


def test_what_is_no_folder_of_pictures_is_refused(folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken" / "a.png").write_bytes(b"no picture")
    for place, message in (
        ("", "goals=dataset needs a folder of pictures; type goals.folder=FOLDER"),
        (folder / "none", "none is no folder; give one with pictures in it"),
        (folder / "10.png", "10.png is no folder"),
        (folder / "empty", "empty has no pictures in it; expected files that end in .bmp, "),
        (folder / "broken", r"a.png is no picture that can be read"),
    ):
        with pytest.raises(UserError, match=message):
            attached(place).prepare()


def test_an_encoder_that_reads_states_is_refused() -> None:
    class States(Brightness):
        observes = "state"

    with pytest.raises(ValueError, match="pictures say nothing to an encoder that reads states; try encoder=beta_vae"):
        attached("anywhere", States())
