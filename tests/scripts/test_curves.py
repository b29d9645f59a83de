"""Learning curves: gathered from run folders, averaged with an interval that fits few seeds."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def curves() -> ModuleType:
    spec = importlib.util.spec_from_file_location("curves", Path(__file__).resolve().parents[2] / "scripts" / "curves.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def a_run(folder: Path, seed: int, distances: dict[int, float]) -> Path:
    folder.mkdir()
    (folder / "origin.json").write_text(json.dumps({"seed": seed, "commit": "abc", "command": f"rig train seed={seed}"}))
    rows = "".join(f"{step},{value}\n" for step, value in distances.items())
    (folder / "progress.csv").write_text("step,hand_distance\n" + rows)
    return folder


def test_the_interval_is_students(curves: ModuleType) -> None:
    mean, half = curves.interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert half == pytest.approx(4.303 / 3**0.5)  # standard deviation 1, three seeds


def test_runs_become_one_file_and_a_table(curves: ModuleType, tmp_path: Path) -> None:
    runs = [a_run(tmp_path / f"s{seed}", seed, {0: 0.3, 100: 0.1 * (seed + 1)}) for seed in range(3)]
    out = tmp_path / "docs" / "reach.csv"
    curves.gather(out, runs)
    assert curves.curve(out, "hand_distance") == {0: [0.3] * 3, 100: pytest.approx([0.1, 0.2, 0.3])}
    table = curves.table([out], "hand_distance", [0, 100, 200])
    assert table.splitlines()[-1] == "| reach | 0.3000 ± 0.0000 (3) | 0.2000 ± 0.2484 (3) | – |"


def test_many_seeds_have_an_interval_too(curves: ModuleType) -> None:
    assert curves.interval([0.0, 1.0] * 6)[1] == pytest.approx(2.201 * (3 / 11) ** 0.5 / 12**0.5)
    assert curves.interval([0.0, 1.0] * 30)[1] == pytest.approx(2.093 * (15 / 59) ** 0.5 / 60**0.5)


def test_runs_of_programs_that_wrote_more_and_less_become_one_file(curves: ModuleType, tmp_path: Path) -> None:
    runs = [a_run(tmp_path / f"s{seed}", seed, {0: 0.3}) for seed in range(2)]
    (runs[1] / "progress.csv").write_text("step,hand_distance,hand_coverage\n0,0.5,1.5\n")
    for order in (runs, runs[::-1]):
        curves.gather(tmp_path / "reach.csv", order)
        assert sorted(curves.curve(tmp_path / "reach.csv", "hand_distance")[0]) == [0.3, 0.5]
        assert curves.curve(tmp_path / "reach.csv", "hand_coverage") == {0: [1.5]}


def test_two_settings_in_one_file_are_no_curve(curves: ModuleType, tmp_path: Path) -> None:
    curves.gather(tmp_path / "reach.csv", [a_run(tmp_path / name, 3, {0: 0.3}) for name in ("one", "other")])
    with pytest.raises(ValueError, match="has seed 3 twice at step 0: it holds several settings"):
        curves.curve(tmp_path / "reach.csv", "hand_distance")


def test_a_plot_is_a_picture(curves: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "reach.csv"
    curves.gather(out, [a_run(tmp_path / f"s{seed}", seed, {0: 0.3, 100: 0.1 + seed / 100}) for seed in range(2)])
    curves.plot(tmp_path / "reach.png", [out], "hand_distance", "Reach")
    assert (tmp_path / "reach.png").read_bytes().startswith(b"\x89PNG")


def test_what_encoders_see_becomes_one_file_and_a_table(curves: ModuleType, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", 3, {})
    (run / "config.yaml").write_text("task: {name: push}\nencoder: {name: beta_vae}\n")
    seen = {name: {"r2": r2, "median_error": 0.002, "linear_r2": 0.5} for name, r2 in (("hand_x", 0.99), ("puck_x", 0.95))}
    (run / "encoder.json").write_text(json.dumps({"kl": 1.0, "probe": seen}))
    table = curves.probes(tmp_path / "probes.csv", [run])
    assert table.splitlines()[-1] == "| push | beta_vae | hand_x 0.9900 (0.0020), puck_x 0.9500 (0.0020) |"
    head, first, second = (tmp_path / "probes.csv").read_text().splitlines()
    assert head == "seed,commit,command,task,encoder,factor,r2,median_error,linear_r2"
    assert first == "3,abc,rig train seed=3,push,beta_vae,hand_x,0.99,0.002,0.5" and second.startswith("3,abc,")


def test_what_is_measured_of_encoders_becomes_one_file_and_a_table(curves: ModuleType, tmp_path: Path) -> None:
    runs: list[Path] = []
    for number, name in enumerate(("beta_vae", "oracle")):
        run = a_run(tmp_path / name, number, {})
        (run / "config.yaml").write_text(f"task: {{name: push}}\nencoder: {{name: {name}}}\nframe: {{name: slow}}\n")
        seen = {
            "probe": {"hand_x": {"r2": 0.99}, "puck_x": {"r2": 0.95 + number / 25}},
            "frame": {"hand_x": {"r2": 0.9}, "puck_x": {"r2": 0.8}}, "coordinates": 4,
            "spearman": 0.5, "near_spearman": 0.25, "prior_gap": 0.75, "goal_gap": 0.6, "collect_reset": "start",
        }  # fmt: skip
        (run / "encoder.json").write_text(json.dumps(seen | ({} if number else {"moving_r2": 0.875, "kl": 3.0})))
        runs.append(run)
    lines = curves.encoders(tmp_path / "encoders.csv", runs).splitlines()
    assert lines[-2] == "| push | beta_vae | slow | 4 | 0.950 | 0.800 | 0.50, 0.25 | 0.875 | 0.75 | 0.60 |"
    assert lines[-1] == "| push | oracle | slow | 4 | 0.990 | 0.800 | 0.50, 0.25 | – | 0.75 | 0.60 |"
    head, first, second = (tmp_path / "encoders.csv").read_text().splitlines()
    assert head.startswith("seed,commit,command,task,encoder,frame,coordinates,spearman,") and "probe.puck_x.r2" in head
    assert len(head.split(",")) == len(first.split(",")) == len(second.split(","))
