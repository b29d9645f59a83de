"""Pictures, films and goal pictures from files; and what a run shows when asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from rig.encoders import Encoder
from rig.errors import UserError
from rig.evaluate import Rollouts
from rig.report import (
    BETWEEN,
    FILMED,
    describe_code,
    describe_frame,
    encoder_line,
    imagined_sheet,
    interpolated_sheet,
    rollout_film,
    table,
)
from rig.video import GAP, beside, enlarge, grid, read_goals, write_gif, write_png


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 250, (*shape, 3), dtype=np.uint8)  # never white


def test_enlarging_repeats_every_pixel() -> None:
    film = noise(4, 5, 6)
    large = enlarge(film, 3)
    assert large.shape == (4, 15, 18, 3) and large.dtype == np.uint8
    for row in range(3):
        for column in range(3):
            np.testing.assert_array_equal(large[:, row::3, column::3], film)


def test_panels_stand_beside_each_other_with_white_between() -> None:
    left, right = noise(4, 5, 6), noise(4, 5, 9, seed=1)
    film = beside([left, right])
    assert film.shape == (4, 5, 6 + GAP + 9, 3)
    np.testing.assert_array_equal(film[..., :6, :], left)
    assert (film[..., 6 : 6 + GAP, :] == 255).all()
    np.testing.assert_array_equal(film[..., 6 + GAP :, :], right)
    np.testing.assert_array_equal(beside([left]), left)
    assert beside([left[0], right[0]]).shape == (5, 6 + GAP + 9, 3)


def test_a_grid_is_filled_row_by_row_and_the_rest_is_white() -> None:
    frames = noise(5, 4, 6)
    sheet = grid(frames, columns=3)
    assert sheet.shape == (2 * 4 + GAP, 3 * 6 + 2 * GAP, 3)
    where = np.full(sheet.shape[:2], True)
    for index, frame in enumerate(frames):
        top, left = index // 3 * (4 + GAP), index % 3 * (6 + GAP)
        np.testing.assert_array_equal(sheet[top : top + 4, left : left + 6], frame)
        where[top : top + 4, left : left + 6] = False
    assert (sheet[where] == 255).all()


def test_a_png_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    picture = noise(7, 5)
    write_png(tmp_path / "new" / "picture.png", picture)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new" / "picture.png").convert("RGB")), picture)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["picture.png"]


def test_a_gif_is_an_endless_film_of_every_frame(tmp_path: Path) -> None:
    film = np.zeros((6, 20, 30, 3), np.uint8)
    for index, frame in enumerate(film):
        frame[:, 5 * index : 5 * index + 5] = (200, 20 * index, 40)
    write_gif(tmp_path / "film.gif", film, milliseconds=120)
    with Image.open(tmp_path / "film.gif") as picture:
        assert (picture.format, picture.n_frames, picture.size) == ("GIF", 6, (30, 20))
        assert picture.info["loop"] == 0 and picture.info["duration"] == 120
    back = iio.imread(tmp_path / "film.gif").astype(int)
    assert back.shape == film.shape and np.abs(back - film).max() <= 8  # but for the palette


def test_what_a_file_is_called_does_not_decide_what_it_is(tmp_path: Path) -> None:
    write_gif(tmp_path / "film", noise(2, 8, 8))
    with Image.open(tmp_path / "film") as picture:
        assert picture.format == "GIF"


@pytest.mark.parametrize("write", [lambda path: write_png(path, noise(4, 4)), lambda path: write_gif(path, noise(2, 4, 4))])
def test_where_nothing_can_be_written_one_line_says_so(tmp_path: Path, write: Any) -> None:
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path, tmp_path / "file" / "picture"):
        with pytest.raises(UserError, match=f"cannot write {path}: "):
            write(path)
    assert (tmp_path / "file").read_text() == "kept" and len(list(tmp_path.iterdir())) == 1


def save(path: Path, pixels: np.ndarray, mode: str = "RGB", **options: Any) -> Path:
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


@pytest.mark.parametrize("extension", ["png", "bmp", "gif", "webp", "tiff", "jpg"])
@pytest.mark.parametrize("shape", [(48, 48), (90, 131), (131, 90), (17, 33), (8, 8), (1, 1)])
def test_goal_pictures_of_any_format_and_size_become_squares(tmp_path: Path, extension: str, shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), (200, 40, 90), np.uint8)
    options = {"quality": 95} if extension in ("jpg", "webp") else {}
    goals = read_goals([save(tmp_path / f"goal.{extension}", pixels, **options)], 16)
    assert goals.shape == (1, 16, 16, 3) and goals.dtype == np.uint8
    assert np.abs(goals.astype(int) - (200, 40, 90)).max() <= 6


def test_goal_pictures_keep_their_order(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{grey}.png", np.full((9, 9, 3), grey, np.uint8)) for grey in (7, 200, 90)]
    assert read_goals(paths, 4)[:, 0, 0, 0].tolist() == [7, 200, 90]


def test_a_goal_picture_of_the_right_size_is_taken_as_it_is(tmp_path: Path) -> None:
    pixels = noise(48, 48)
    np.testing.assert_array_equal(read_goals([save(tmp_path / "goal.png", pixels)], 48)[0], pixels)


@pytest.mark.parametrize("lying", [True, False])
def test_the_centre_square_is_cut_out_and_averaged_by_area(tmp_path: Path, lying: bool) -> None:
    centre, pixels = noise(12, 12), np.full((12, 21, 3), 255, np.uint8)
    pixels[:, 4:16] = centre
    pixels, centre = (pixels, centre) if lying else (pixels.swapaxes(0, 1), centre.swapaxes(0, 1))
    found = read_goals([save(tmp_path / "goal.png", np.ascontiguousarray(pixels))], 4)[0].astype(float)
    np.testing.assert_allclose(found, centre.reshape(4, 3, 4, 3, 3).mean((1, 3)), atol=1)


def test_grey_and_palette_pictures_keep_their_colours(tmp_path: Path) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
    (found,) = read_goals([save(tmp_path / "grey.png", grey, "L")], 8)
    np.testing.assert_array_equal(found, np.repeat(grey[..., None], 3, 2))
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")  # 16 bits a pixel
    np.testing.assert_array_equal(read_goals([tmp_path / "deep.png"], 8)[0], found)
    black_and_white = np.where(grey > 90, 255, 0).astype(np.uint8)
    (found,) = read_goals([save(tmp_path / "bits.png", black_and_white, "1")], 8)
    np.testing.assert_array_equal(found[..., 1], black_and_white)
    few = np.array([[200, 30, 20], [20, 90, 180]], np.uint8)[np.arange(64).reshape(8, 8) % 2]
    Image.fromarray(few).quantize(4).save(tmp_path / "palette.png")
    np.testing.assert_allclose(read_goals([tmp_path / "palette.png"], 8)[0].astype(int), few, atol=2)


def test_what_is_transparent_is_shown_on_white(tmp_path: Path) -> None:
    pixels = np.dstack((noise(8, 8), np.full((8, 8), 255, np.uint8)))
    pixels[:, :4, 3] = 0
    expected = np.where(pixels[..., 3:] == 0, 255, pixels[..., :3])
    Image.fromarray(pixels).save(tmp_path / "goal.png")
    np.testing.assert_array_equal(read_goals([tmp_path / "goal.png"], 8)[0], expected)
    palette = Image.new("P", (8, 8))
    palette.paste(1, (4, 0, 8, 8))
    palette.putpalette([200, 30, 20, 20, 90, 180])
    palette.save(tmp_path / "palette.png", transparency=bytes([0, 255]))
    (found,) = read_goals([tmp_path / "palette.png"], 8)
    assert (found[:, :4] == 255).all() and (found[:, 4:] == (20, 90, 180)).all()


def test_a_photograph_is_turned_as_it_was_taken(tmp_path: Path) -> None:
    upright = noise(9, 9)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned clockwise by a quarter
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(tmp_path / "goal.png", exif=exif)
    np.testing.assert_array_equal(read_goals([tmp_path / "goal.png"], 9)[0], upright)


def test_a_goal_picture_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"goal picture .*absent\.png does not exist; give --goal the path of a picture"):
        read_goals([save(tmp_path / "there.png", noise(8, 8)), tmp_path / "absent.png"], 8)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = save(tmp_path / "whole.png", noise(64, 64)).read_bytes()
    broken = {"text.png": b"hello", "empty.jpg": b"", "cut.png": whole[: len(whole) // 2]}
    broken["flipped.png"] = whole[:60] + bytes([whole[60] ^ 255]) + whole[61:]
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=rf"goal picture .*{name} is no picture that can be read; give a PNG"):
            read_goals([tmp_path / name], 8)
    with pytest.raises(UserError, match="is no picture that can be read"):
        read_goals([tmp_path], 8)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64 // 3)  # PIL refuses what is more than twice as large
    with pytest.raises(UserError, match=r"whole\.png is no picture that can be read"):
        read_goals([tmp_path / "whole.png"], 8)


class Negative(Encoder):
    """A code that is the picture, decoded in inverted colours."""

    can_decode = True

    def fit(self, episodes: Tensor, generator: torch.Generator, report: Any) -> dict[str, float]:
        return {}

    def encode(self, observed: Tensor) -> Tensor:
        return observed.flatten(1).float()

    def decode(self, latent: Tensor) -> Tensor:
        return (255 - latent).to(torch.uint8).view(-1, 4, 4, 3)


def rollouts(episodes: int, steps: int) -> Rollouts:
    state = np.zeros((episodes, steps, 2), np.float32)
    return Rollouts(state, noise(episodes, steps, 4, 4), None, noise(episodes, 4, 4, seed=1), state[..., 0])


def test_a_film_shows_goal_camera_and_what_the_encoder_sees() -> None:
    given = rollouts(episodes=2, steps=3)
    film = rollout_film(given, Negative(), torch.device("cpu"))[:, ::3, ::3]
    assert film.shape == (2 * (3 + 8), 4, 3 * 4 + 2 * GAP, 3)
    for episode, (frames, goal) in enumerate(zip(given.frame, given.goal_frame, strict=True)):
        for index in range(11):  # the last frame is held for eight more
            goal_panel, camera, seen = (film[episode * 11 + index, :, left : left + 4] for left in (0, 4 + GAP, 8 + 2 * GAP))
            np.testing.assert_array_equal(goal_panel, goal)
            np.testing.assert_array_equal(camera, frames[min(index, 2)])
            np.testing.assert_array_equal(seen, 255 - frames[min(index, 2)])


def test_a_film_is_short_and_does_without_a_decoder() -> None:
    blind = Negative()
    blind.can_decode = False  # type: ignore[misc]
    film = rollout_film(rollouts(episodes=FILMED + 3, steps=2), blind, torch.device("cpu"))
    assert film.shape == (FILMED * (2 + 8), 3 * 4, 3 * (2 * 4 + GAP), 3)


def test_imagined_goals_stand_beside_as_many_real_frames() -> None:
    real, imagined = noise(9, 4, 5), noise(9, 4, 5, seed=1)
    sheet = imagined_sheet(real, imagined)[::3, ::3]
    side = 3 * 5 + 2 * GAP
    np.testing.assert_array_equal(sheet[:, :side], grid(real, 3))
    np.testing.assert_array_equal(sheet[:, -side:], grid(imagined, 3))
    assert (sheet[:, side:-side] == 255).all()


class Shade(Negative):
    """Its code is the brightness of a picture's first pixel, and it decodes to a picture of that grey."""

    def encode(self, observed: Tensor) -> Tensor:
        return observed[:, 0, 0, :1].float()

    def decode(self, latent: Tensor) -> Tensor:
        return latent[:, :, None, None].expand(-1, 4, 5, 3).round().to(torch.uint8)


def test_between_two_real_frames_stand_the_decoded_points_of_a_straight_line() -> None:
    real = np.array([10, 20, 97, 80], np.uint8)[:, None, None, None].repeat(4, 1).repeat(5, 2).repeat(3, 3)
    sheet = interpolated_sheet(real, Shade(), torch.device("cpu"))[::3, ::3, 0]
    columns = [0, *(5 + 3 * GAP + i * (5 + GAP) for i in range(BETWEEN)), sheet.shape[1] - 5]
    greys = sheet[[0, 4 + GAP]][:, columns].astype(int)
    assert greys[0].tolist() == [10, *np.linspace(10, 80, BETWEEN).round().astype(int), 80]
    assert greys[1].tolist() == [20, *np.linspace(20, 97, BETWEEN).round().astype(int), 97]
    assert sheet.shape[0] == 2 * 4 + GAP and (sheet[:, columns[0] + 5 : columns[1]] == 255).all()


def test_a_trained_encoder_is_told_by_what_it_has() -> None:
    metrics = {"reconstruction": 12.345678, "kl": 16.0, "loss": 28.3, "active_units": 30, "probe": {}}
    assert encoder_line(metrics, 32) == "reconstruction 12.35, kl 16, 30 of 32 latents active"
    assert encoder_line({"active_units": 2}, 2) == "2 of 2 latents active"
    symbols = {"codes_in_use": 0.75, "active_units": 2, "prior_nats_per_cell": 1.2345}
    assert encoder_line(symbols, 2) == "2 of 2 latents active, 75% of the codes in use, the prior needs 1.23 nats a cell"
    assert encoder_line({}, 8) == ""


def test_what_was_measured_of_a_code_is_a_line_each() -> None:
    gaps = {"prior_gap": 0.871, "prior_gap_p": 1e-9, "goal_gap": 0.512, "goal_gap_p": 0.2345}
    every = {"active_units": 7, "spearman": 0.914, "near_spearman": 0.551, "moving_r2": 0.9312, "moving_share": 0.145, **gaps}
    head, active, distance, pictures, codes, goals = describe_code(every, 8).splitlines()
    assert head == "how far the code can be trusted:" and active.strip() == "7 of 8 latents active"
    assert distance.endswith("rank correlation 0.91, over the nearest fifth of pairs 0.55")
    assert pictures.endswith("R² 0.931 over the 14% of pixels that move")
    assert "87% right (p < 0.001)" in codes and "51% right (p = 0.234)" in goals
    collapsed = describe_code({**every, "active_units": 0, "kl": 7.9}, 8).splitlines()[1]
    assert collapsed.strip().startswith("0 of 8 latents active: it has collapsed")
    assert collapsed.endswith("; try a longer encoder.training.anneal, or another seed")
    assert describe_code({"active_units": 7, **gaps}, 8).splitlines() == [head, active, codes, goals]
    assert describe_code({**every, "near_spearman": None}, 8).splitlines()[2].endswith("correlation 0.91")
    assert describe_code({**every, "spearman": None, "near_spearman": None}, 8).splitlines()[2] == pictures


def summary(**changes: Any) -> dict[str, Any]:
    factor = {"final_distance_mean": 0.01234, "idle_distance_mean": 0.125, "success_rate": 0.96, "unit": "m"}
    head = {"task": "reach", "encoder": "beta_vae", "learner": "td3", "episodes": 50, "steps": 12000}
    return {
        **head, "factors": {"hand": factor}, "success_rate": 0.96, "latent_distance_mean": 0.5, "latent_true_spearman": 0.875,
        "per_episode": [{"latent_distance": 0.25}, {"latent_distance": 0.75}], **changes,
    }  # fmt: skip


def test_the_table_shows_each_factor_against_doing_nothing() -> None:
    head, names, hand, total = table(summary()).splitlines()
    assert head == "reach, beta_vae, td3 after 12000 env steps: 50 goals never seen in training"
    assert names.split("  ")[-1].strip() == "success"
    assert hand.split() == ["hand", "0.0123", "m", "0.1250", "m", "96%"]
    assert len(names) == len(hand)
    assert "task success 96%" in total and "0.500" in total and total.endswith("0.88")


def test_the_table_of_goals_from_pictures_claims_no_true_distance() -> None:
    unknown = {"success_rate": None, "latent_true_spearman": None, "final_distance_mean": None}
    lines = table(summary(factors={}, **unknown)).splitlines()
    assert lines[0].endswith("50 goals given as pictures") and "true distance of a picture is not known" in lines[1]
    assert [line.strip() for line in lines[2:]] == ["goal 0: 0.250", "goal 1: 0.750"]


def test_a_latent_frame_is_described_with_its_widest_gap() -> None:
    spectrum = torch.tensor([0.001, 0.002, 0.1, 0.3])
    text = describe_frame(spectrum, torch.tensor([1.25, 0.75]), [("hand_x", 0.9991), ("puck_x", 0.5)], "slow")
    assert "latent frame slow: keeps 2 of 4 coordinates" in text
    assert "slowness 0.001 0.002 0.1 0.3" in text and "×50.0 between 0.002 and 0.1" in text
    assert "reward weights 1.25 0.75" in text and "hand_x 0.999, puck_x 0.500" in text
    plain = describe_frame(spectrum.flip(0), torch.ones(4), [], "whitened")
    assert "variance 0.3 0.1" in plain and "×50.0 between 0.002 and 0.1" in plain and "weights" not in plain
    assert "widest gap" not in describe_frame(torch.ones(1), torch.ones(1), [], "identity")
    dead = describe_frame(torch.tensor([0.0, 1e-9, 0.5, 1.0]), torch.ones(4), [], "identity")  # 1e-9 of 1 is not more than none
    assert "widest gap ×500000.0 between 1e-09 and 0.5" in dead
    long = describe_frame(torch.ones(144), torch.ones(7), [], "slow").splitlines()
    assert long[0].endswith("keeps 7 of 144 coordinates") and long[1] == "  slowness " + "1 " * 24 + "…"
