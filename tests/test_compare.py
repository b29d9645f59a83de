"""rig compare: runs are grouped, aligned and put into tables and a picture; what cannot be compared is one line."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from rig.cli import main
from rig.compare import compare, improvements, summarise
from rig.errors import UserError

STEPS = 20


def a_run(folder: Path, distances: Mapping[int, float], **settings: str | int) -> Path:
    """A run folder with these distances by step; settings as in encoder="beta_vae", task="push"."""
    task, encoder = settings.pop("task", "reach"), settings.pop("encoder", "beta_vae")
    parts = {"beta_vae": {"latent_dim": 8}, "spatial_vae": {"points": 4}}
    config = {
        "task": {"name": task}, "encoder": {"name": encoder, **parts[str(encoder)]},
        "learner": {"name": "td3", "batch": settings.pop("batch", 128)},
        "seed": settings.pop("seed", 0), "steps": settings.pop("steps", STEPS), "run_dir": str(folder),
    }  # fmt: skip
    assert not settings
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    lines = [f"{step},{0.5},{value},{0.4}" for step, value in distances.items()]
    (folder / "progress.csv").write_text("\n".join(["step,success_rate,final_distance_mean,hand_idle", *lines, ""]))
    return folder


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """Two encoders with three seeds each."""
    for seed in range(3):
        a_run(tmp_path / f"b{seed}", {0: 0.3, 10: 0.2, STEPS: 0.1 + 0.01 * seed}, seed=seed)
        a_run(tmp_path / f"s{seed}", {0: 0.3, 10: 0.1, STEPS: 0.05 + 0.01 * seed}, seed=seed, encoder="spatial_vae")
    return tmp_path


def test_runs_are_grouped_by_what_differs(grid: Path) -> None:
    found = compare([grid])
    assert found.by == ("encoder.name",) and found.when == f"step {STEPS}" and found.tasks == ("reach",) and found.lower_is_better
    assert set(found.groups) == {"beta_vae", "spatial_vae"}  # and not by seed, folder or the settings of one encoder
    np.testing.assert_allclose(found.groups["beta_vae"][0], [0.10, 0.11, 0.12])
    np.testing.assert_allclose(found.curves["spatial_vae"][Fraction(10, STEPS)][0], [0.1, 0.1, 0.1])
    best, other = summarise(found)
    assert (best.group, best.runs, best.iqm, best.median) == ("spatial_vae", 3, pytest.approx(0.06), pytest.approx(0.06))
    assert other.group == "beta_vae" and (other.low, other.high) == pytest.approx((0.10, 0.12), abs=0.005)
    chance = improvements(found)
    assert chance["spatial_vae", "beta_vae"] == (1.0, 1.0, 1.0) and chance["beta_vae", "spatial_vae"][0] == 0.0


def test_more_success_is_better_and_less_distance(grid: Path) -> None:
    assert not compare([grid], metric="success_rate").lower_is_better
    assert compare([grid], metric="final_distance").metric == "final_distance"


def test_figures_of_the_encoder_are_metrics_too(grid: Path) -> None:
    for run, spearman in {"b0": 0.5, "b1": 0.6, "b2": 0.7, "s0": 0.8, "s1": 0.9, "s2": 0.85}.items():
        seen = {"spearman": spearman, "near_spearman": None, "collect_reset": "start", "probe": {"hand_x": {"r2": spearman / 2}}}
        (grid / run / "encoder.json").write_text(json.dumps(seen))
    found = compare([grid], metric="spearman")
    assert not found.lower_is_better and found.when == f"step {STEPS}"
    np.testing.assert_allclose(found.groups["beta_vae"][0], [0.5, 0.6, 0.7])
    np.testing.assert_allclose(compare([grid], metric="probe.hand_x.r2").groups["spatial_vae"][0], [0.4, 0.45, 0.425])
    np.testing.assert_allclose(compare([grid]).groups["beta_vae"][0], [0.10, 0.11, 0.12])  # progress.csv is read as before
    for word in ("near_spearman", "collect_reset"):  # not known, and not a number
        with pytest.raises(UserError, match=f"unknown metric '{word}'; valid: final_distance_mean, .*probe.hand_x.r2, spearman"):
            compare([grid], metric=word)


def test_encoders_alone_are_compared_where_no_policy_was_trained(tmp_path: Path) -> None:
    for encoder, gap in {"beta_vae": 0.9, "spatial_vae": 0.6}.items():
        run = a_run(tmp_path / encoder, {}, encoder=encoder, steps=0)
        (run / "encoder.json").write_text(json.dumps({"prior_gap": gap}))
    found = compare([tmp_path], metric="prior_gap")
    assert found.lower_is_better and found.when == "step 0"
    assert [row.group for row in summarise(found)] == ["spatial_vae", "beta_vae"]
    with pytest.raises(UserError, match="unknown metric 'final_distance'; valid: prior_gap"):
        compare([tmp_path])
    (tmp_path / "beta_vae" / "encoder.json").write_text("[")
    with pytest.raises(UserError, match=r"beta_vae/encoder\.json is not what a run wrote; leave that folder out"):
        compare([tmp_path], metric="prior_gap")


def test_a_run_whose_policy_was_not_evaluated_yet_is_left_out_whatever_its_encoder_says(grid: Path) -> None:
    (a_run(grid / "fresh", {}, seed=5) / "encoder.json").write_text(json.dumps({"prior_gap": 0.9}))
    found = compare([grid])
    assert found.when == f"step {STEPS}" and found.left_out == (f"{grid / 'fresh'} has no evaluation at step {STEPS}: left out",)


def test_runs_can_be_grouped_by_what_is_asked_for(grid: Path) -> None:
    a_run(grid / "wide", {STEPS: 0.02}, encoder="spatial_vae", batch=256)
    assert set(compare([grid]).groups) == {
        "encoder=beta_vae learner.batch=128", "encoder=spatial_vae learner.batch=128", "encoder=spatial_vae learner.batch=256",
    }  # fmt: skip
    assert set(compare([grid], ["learner.batch"]).groups) == {"128", "256"}
    assert set(compare([grid], ["seed"]).groups) == {"0", "1", "2"}
    assert set(compare([grid / "b0", grid / "b1"]).groups) == {"all runs"}


def test_the_step_is_the_last_that_complete_runs_share_and_the_others_are_named(grid: Path) -> None:
    a_run(grid / "cut_off", {0: 0.3, 10: 0.2}, seed=4)
    found = compare([grid])
    assert found.when == f"step {STEPS}" and len(found.groups["beta_vae"][0]) == 3
    assert found.left_out == (f"{grid / 'cut_off'} has no evaluation at step {STEPS}: left out",)
    assert len(compare([grid], step=10).groups["beta_vae"][0]) == 4


def test_over_tasks_distances_are_shares_of_doing_nothing(grid: Path) -> None:
    for seed in range(2):
        for encoder in ("beta_vae", "spatial_vae"):
            a_run(grid / f"push_{encoder}{seed}", {STEPS: 0.2 * (seed + 1)}, seed=seed, encoder=encoder, task="push")
    found = compare([grid])
    assert found.relative and found.tasks == ("push", "reach")
    push, reach = found.groups["beta_vae"]
    np.testing.assert_allclose(push, [0.5, 1.0])
    np.testing.assert_allclose(reach, [0.25, 0.275, 0.3])
    assert not compare([grid], metric="success_rate").relative
    (grid / "push_beta_vae0" / "config.yaml").unlink()
    (grid / "push_beta_vae1" / "config.yaml").unlink()
    with pytest.raises(UserError, match=f"beta_vae has no run of push at step {STEPS}; compare runs of one task"):
        compare([grid])


def test_each_task_is_judged_at_its_own_last_step(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for encoder, distance in {"beta_vae": 0.2, "spatial_vae": 0.1}.items():
        distances = {0: 0.4, 15: 0.3, 30: 0.28, 3 * STEPS: distance}
        a_run(grid / f"push_{encoder}", distances, encoder=encoder, task="push", steps=3 * STEPS)
    a_run(grid / "door", {}, task="door")
    found = compare([grid])
    assert found.steps == {"push": 3 * STEPS, "reach": STEPS}
    assert found.left_out == (f"{grid / 'door'} has no evaluation: left out",)
    np.testing.assert_allclose(found.groups["beta_vae"][0], [0.5])
    np.testing.assert_allclose(found.groups["beta_vae"][1], [0.25, 0.275, 0.3])
    curve = found.curves["beta_vae"]
    assert list(curve) == [0, Fraction(1, 2), 1]  # of each task's steps: where all of its runs were evaluated
    np.testing.assert_allclose(curve[Fraction(1, 2)][0], [0.28 / 0.4])
    np.testing.assert_allclose(curve[Fraction(1, 2)][1], [0.2 / 0.4] * 3)
    assert main(["compare", str(grid), "--csv", str(grid / "t.csv")]) == 0
    assert "final_distance as a share of what doing nothing leaves at step 60 of push and 20 of reach;" in capsys.readouterr().out
    assert ",60 20,push reach," in (grid / "t.csv").read_text()
    with pytest.raises(UserError, match="no run of push was evaluated at step 10; evaluated at: 0, 15, 30, 60"):
        compare([grid], step=10)
    for encoder in ("beta_vae", "spatial_vae"):
        a_run(grid / f"pickup_{encoder}", {0: 0.4, STEPS: 0.2}, encoder=encoder, task="pickup")
    assert main(["compare", str(grid), "--csv", str(grid / "t.csv")]) == 0
    assert ",20 60 20,pickup push reach," in (grid / "t.csv").read_text()


def test_it_prints_and_writes_tables_and_a_picture(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = {kind: grid / f"t.{kind}" for kind in ("csv", "md", "tex", "png")}
    assert main(["compare", str(grid), *(f"--{kind}={path}" for kind, path in outputs.items())]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "reach: final_distance at step 20; lower is better"
    assert lines[1].split() == ["runs", "IQM", "95", "%", "interval", "mean", "median"]
    assert lines[2].split() == ["spatial_vae", "3", "0.06", "0.05", "–", "0.07", "0.06", "0.06"]
    assert lines[6].split() == ["1", "2"] and lines[7].split()[:4] == ["1", "spatial_vae", "–", "1.00"]
    assert lines[8].split()[:4] == ["2", "beta_vae", "0.00", "(0.00"]
    assert lines[10] == "share of runs below each of these scores (95 % interval)"
    assert lines[11].split() == ["0.055", "0.0625", "0.085", "0.1075", "0.115"]
    assert lines[12].split()[:5] == ["spatial_vae", "0.33", "(0.00", "–", "1.00)"] and lines[12].split()[9] == "1.00"
    assert lines[13].split()[:5] == ["beta_vae", "0.00", "(0.00", "–", "0.00)"]
    with outputs["csv"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["group"] for row in rows] == ["spatial_vae", "beta_vae"] and float(rows[1]["iqm"]) == pytest.approx(0.11)
    assert (rows[0]["better than beta_vae"], rows[0]["better than spatial_vae"]) == ("1.0", "")
    assert rows[1]["better than spatial_vae high"] == "0.0" and float(rows[0]["share below 0.055 high"]) == 1
    shares = [float(row[f"share below {level}"]) for row, level in zip(rows, ("0.055", "0.1075"), strict=True)]
    assert shares == pytest.approx([1 / 3, 1 / 3])
    assert "| spatial_vae | 3 | 0.06 | 0.05 – 0.07 | 0.06 | 0.06 |" in outputs["md"].read_text()
    latex = outputs["tex"].read_text()
    assert r"spatial\_vae & 3 & 0.06 & 0.05--0.07 & 0.06 & 0.06 \\" in latex and latex.count(r"\begin{tabular}") == 3
    assert outputs["png"].read_bytes().startswith(b"\x89PNG")


def test_what_agents_see_stands_beside_how_they_end_task_by_task(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for task, names in {"reach": ("hand_x", "hand_y"), "push": ("puck_x",)}.items():
        for encoder, r2 in {"beta_vae": 0.5, "spatial_vae": 0.9}.items():
            for seed in range(3):
                run = grid / f"{encoder[0]}{seed}"
                if task == "push":
                    run = a_run(grid / f"push_{encoder}{seed}", {STEPS: 0.1}, seed=seed, encoder=encoder, task=task)
                told = {name: {"r2": r2 + 0.03 * seed} for name in names}
                seen = {"frame": told, "coordinates": 2 + seed, "near_spearman": 0.7, "probe": {"hand_x": {"r2": 1.0}}}
                seen["spectrum_gap"] = 3.5 + seed
                (run / "encoder.json").write_text(json.dumps(seen))
    assert main(["compare", str(grid), "--codes", "--md", str(grid / "t.md")]) == 0
    push, reach = capsys.readouterr().out.split("what agents see of ")[1:]
    assert push.splitlines()[0] == "push: R² by which their coordinates tell each number of the state"
    heads = "coordinates  widest gap ×  after  puck_x  rank correlation, near  goal gap  final_distance"
    assert push.splitlines()[1].split() == heads.split()
    best, other = (line.split() for line in reach.splitlines()[2:4])
    assert best == ["spatial_vae", "2–4", "4.50", "–", "0.93", "0.93", "0.70", "–", "0.06"]
    assert other == ["beta_vae", "2–4", "4.50", "–", "0.53", "0.53", "0.70", "–", "0.11"]
    assert "| spatial_vae | 2–4 | 4.50 | – | 0.93 | 0.93 | 0.70 | – | 0.06 |" in (grid / "t.md").read_text()
    (grid / "s0" / "encoder.json").unlink()
    assert main(["compare", str(grid), "--codes"]) == 0  # what is known of the others is still said
    for run in grid.glob("*/encoder.json"):
        run.unlink()
    assert main(["compare", str(grid), "--codes"]) == 2
    assert capsys.readouterr().err == "rig: --codes: no run of push measured its code; evaluation.probe_states=4000 does\n"


def test_a_single_run_has_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_run(tmp_path / "one", {STEPS: 0.1})
    a_run(tmp_path / "other", {STEPS: 0.2}, encoder="spatial_vae")
    assert main(["compare", str(tmp_path / "one"), str(tmp_path / "other")]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[2].split() == ["beta_vae", "1", "0.1", "–", "0.1", "0.1"]
    assert out.splitlines()[-1].split() == ["2", "spatial_vae", "0.00", "–"]


def test_a_run_that_is_named_twice_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(tmp_path / "one", {STEPS: 0.1})
    (tmp_path / "link").symlink_to(run)
    (tmp_path / "other").mkdir()
    assert main(["compare", str(run), str(tmp_path / "other" / ".." / "one"), str(tmp_path / "link")]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[1:3] == ["runs", "1"]


def test_a_picture_shows_what_is_below_zero(tmp_path: Path) -> None:
    for seed, end in enumerate((-0.5, -0.2)):
        a_run(tmp_path / f"s{seed}", {0: -0.1, STEPS: end}, seed=seed)
    assert main(["compare", str(tmp_path), "--png", str(tmp_path / "t.png")]) == 0
    picture = np.asarray(Image.open(tmp_path / "t.png").convert("RGB")).astype(int)
    left = picture[:, : picture.shape[1] // 3]
    assert int((np.ptp(left, axis=2) > 40).sum()) > 300  # a coloured curve: an axis from zero up would be empty


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "'nowhere' does not exist; expected a run folder, as rig train made it, or a folder of them"),
        (["empty"], "'empty' holds no run folders; expected a run folder"),
        (["runs", "--metric", "final_distanse"], "unknown metric 'final_distanse'; valid: final_.*; try final_distance_mean"),
        (["runs", "--by", "encodr"], "--by encodr: no such setting; try encoder"),
        (["runs", "--step", "7"], "no run of reach was evaluated at step 7; evaluated at: 0, 20"),
        (["runs", "--png", "nowhere/t.png"], "argument --png: cannot write 'nowhere/t.png'"),
        (["fresh"], "none of 1 runs has an evaluation yet; rig resume goes on with one"),
        (["runs/a/progress.csv"], "'runs/a/progress.csv' is a file; expected a run folder"),
        (["torn"], "torn/progress.csv is not what a run wrote; leave that run out, or delete the file"),
        (["broken"], "broken/config.yaml is no configuration of a run; leave that folder out"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    a_run(Path("runs/a"), {0: 0.3, STEPS: 0.1})
    a_run(Path("fresh"), {})
    Path("empty").mkdir()
    a_run(Path("torn"), {STEPS: 0.1})
    Path("torn/progress.csv").write_text("step,final_distance_mean\n2x,0.1\n")
    Path("broken").mkdir()
    Path("broken/config.yaml").write_text("- 1\n")
    assert main(["compare", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(f"rig: {message}", line), line
