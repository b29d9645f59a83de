"""The command line: help, lists, exit codes, one line for bad input, and nothing heavy before it is needed."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import pytest

import rig
from rig import commands, contact_sheet
from rig.choices import GROUPS
from rig.cli import COMMANDS, guarded, main
from rig.cli_compose import compose
from rig.cli_help import WIDTH
from rig.config import RunConfig
from rig.config_io import leaves, to_yaml
from rig.envs import TASKS
from rig.errors import UserError
from rig.video import GAP

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """`python ...` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False, **options)


def recorded(monkeypatch: pytest.MonkeyPatch, name: str) -> list[tuple[Any, ...]]:
    """Stand in for a function of rig.commands; returns what it is called with."""
    calls: list[tuple[Any, ...]] = []

    def record(*arguments: Any) -> int:
        calls.append(arguments)
        return 0

    monkeypatch.setattr(commands, name, record)
    return calls


@pytest.fixture
def folder(elsewhere: Path) -> str:
    """A run folder, as far as the command line can tell."""
    (elsewhere / "runs" / "one").mkdir(parents=True)
    (elsewhere / "runs" / "one" / "config.yaml").write_text(to_yaml(compose(["seed=4"])))
    return "runs/one"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["evaluate", "--help"], ["trian"], []])
def test_nothing_heavy_is_imported_before_it_is_needed(arguments: list[str]) -> None:
    done = run("-X", "importtime", "-m", "rig", *arguments)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "rig.cli" in imported
    packages = {name.partition(".")[0] for name in imported}
    assert packages & {"torch", "hydra", "omegaconf", "mujoco", "gymnasium", "numpy", "yaml"} == set()


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"^    {command} ", shown, re.MULTILINE) for command in COMMANDS)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "train"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: rig {command}")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rig {rig.__version__}\n"


def test_no_command_shows_help_and_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out.startswith("usage: rig")


def test_train_help_shows_every_name_and_every_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    for group, entries in GROUPS.items():
        (names,) = re.findall(rf"^  {group} (.*(?:\n {{12}}.*)*)", shown, re.MULTILINE)
        assert [name.rstrip("*") for name in names.split()] == list(entries.table)
        assert [name for name in names.split() if name.endswith("*")] == [f"{getattr(compose([]), group).name}*"]
    for path, value in leaves(compose(["encoder=spatial_vae", "frame=slow"])).items():
        if not path.endswith("name"):
            words = re.findall(rf"^  {re.escape(path)} +(\S+)", shown, re.MULTILINE)
            typed = str(list(value)).replace(" ", "") if isinstance(value, tuple) else str(value).lower()
            assert (typed or "''") in [word.lower() for word in words], path
    assert re.search(r"^  learner\.polyak +0\.01 +share of the online weights", shown, re.MULTILINE)
    assert re.search(r"^  preset=rig_push +Push from pixels", shown, re.MULTILINE)
    assert max(map(len, shown.splitlines())) <= WIDTH


def test_list_shows_every_entry_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for entries in GROUPS.values():
        title = lines.index(entries.title)  # a name may stand in several groups
        for name, entry in entries.table.items():
            start = next(i for i, line in enumerate(lines) if i > title and re.match(rf"  {name} +\S", line))
            block = lines[start : next((i for i in range(start + 1, len(lines)) if re.match(r"  \S|\S|$", lines[i])), len(lines))]
            first = (entry.__doc__ or "").strip().split("\n")[0].partition(" Source:")[0]
            assert " ".join(" ".join(block).split()).startswith(f"{name} {first}")
            assert "Source:" not in (entry.__doc__ or "") or any("Source: " in line for line in block), name
    assert max(map(len, lines)) <= WIDTH


def test_list_shows_one_table_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "rewards"]) == 0
    assert capsys.readouterr().out.startswith("rewards\n  latent_distance ")


def test_list_makes_a_picture_of_all_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "pictures"
    assert main(["list", "tasks", "--pictures", str(folder)]) == 0
    assert str(folder / "tasks.png") in capsys.readouterr().out
    sheet = iio.imread(folder / "tasks.png")
    side, labels = contact_sheet.SIZE, contact_sheet.LABEL + GAP
    for row in range(len(TASKS)):
        top = contact_sheet.HEAD + GAP + row * (side + GAP)
        start, goal, other = (sheet[top : top + side, labels + (side + GAP) * i :][:, :side] for i in (0, 1, 2))
        assert (start != goal).any() and (goal != other).any() and start.std() > 1


def test_train_gives_the_configuration_to_training(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = recorded(monkeypatch, "train")
    assert main(["train", "task=push", "seed=3"]) == 0
    assert calls == [(compose(["task=push", "seed=3"]),)]


def test_train_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = recorded(monkeypatch, "train")
    assert main(["train", "-m", "seed=1,2", "run_dir=here"]) == 0
    assert [(config.seed, config.run_dir) for (config,) in calls] == [(1, "here/seed=1"), (2, "here/seed=2")]


def test_a_sweeps_failed_job_is_one_line_and_the_next_one_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds: list[int] = []

    def train(config: RunConfig) -> int:
        seeds.append(config.seed)
        if config.seed == 1:
            raise UserError("the loss is not finite")
        return 0

    monkeypatch.setattr(commands, "train", train)
    assert main(["train", "--multirun", "seed=1,2", "run_dir=here"]) == 2
    assert seeds == [1, 2] and "rig: the loss is not finite\n" in capsys.readouterr().err


@pytest.mark.parametrize("code", [0, 130, 143])
def test_trainings_exit_code_is_the_programs(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(commands, "train", lambda config: code)
    assert main(["train"]) == code


def test_resume_gives_the_saved_configuration_with_the_changes(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    calls = recorded(monkeypatch, "resume")
    assert main(["resume", folder, "steps=20000", "checkpoint.keep=2"]) == 0
    ((path, config),) = calls
    assert path == Path(folder)
    assert (config.seed, config.steps, config.checkpoint.keep) == (4, 20_000, 2)


def test_evaluate_passes_its_options_on(monkeypatch: pytest.MonkeyPatch, folder: str, elsewhere: Path) -> None:
    calls = recorded(monkeypatch, "evaluate_run")
    for name in ("a.png", "b.png"):
        (elsewhere / name).touch()
    assert main(["evaluate", folder]) == 0
    options = ["--episodes", "7", "--seed", "3", "--checkpoint", "2000", "--gif", "x.gif", "--json", "x.json"]
    assert main(["evaluate", folder, *options, "--goal", "a.png", "--goal", "b.png"]) == 0
    for changed in ("task.distractors=4 --seed 0", "--seed 0 task.distractors=4", "--goal a.png task.distractors=4"):
        assert main(["evaluate", folder, *changed.split()]) == 0
    run, config = Path(folder), commands.load_config(Path(folder))
    other = replace(config, task=replace(config.task, distractors=4))
    assert calls == [
        (run, config, 50, 0, None, [], None, None),
        (run, config, 7, 3, 2000, [Path("a.png"), Path("b.png")], Path("x.gif"), Path("x.json")),
        *[(run, other, 50, 0, None, goals, None, None) for goals in ([], [], [Path("a.png")])],
    ]


def test_imagine_passes_its_options_on(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    calls = recorded(monkeypatch, "imagine_run")
    assert main(["imagine", folder]) == 0
    assert main(["imagine", folder, "--count", "9", "--out", "x.png"]) == 0
    assert calls == [(Path(folder), 64, None), (Path(folder), 9, Path("x.png"))]


def test_export_passes_its_options_on(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    from rig import export

    calls: list[tuple[Path, Path]] = []
    monkeypatch.setattr(export, "export_sb3", lambda run, out: calls.append((run, out)) or 0)
    assert main(["export", folder, "--to", "sb3", "policy.zip"]) == 0
    assert calls == [(Path(folder), Path("policy.zip"))]


BAD = [
    (["trian"], "unknown command 'trian'; valid: train, encode, resume, .*; try rig train"),
    (["--verson"], "unrecognized arguments: --verson|.*required"),
    (["train", "task=rech"], "unknown task 'rech'; valid: reach, push, .*; try task=reach"),
    (["train", "encoder=vae"], "unknown encoder 'vae'; valid: beta_vae, spatial_vae, vq_vae, .*oracle"),
    (["train", "encoder=nowhere.at_all:Encoder"], "encoder=nowhere.at_all:Encoder: no module 'nowhere'"),
    (["train", "reward=pixel", "encoder=oracle"], "reward=pixel with encoder=oracle .*this encoder has no decoder; try encoder="),
    (["train", "reward=log_prob", "goals=pixelcnn", "encoder=vq_vae"], "reward=log_prob with .*: it needs a density .*"),
    (["train", "goals=dataset"], "goals=dataset needs a folder of pictures; type goals.folder=FOLDER"),
    (["train", "stepz=3"], "unknown key 'stepz'; valid: .*; try steps=12000"),
    (["train", "steps=many"], "steps must be a whole number, got 'many'; try steps=12000"),
    (["train", "seed=-1"], "seed must be from 0 to 4294967295, got -1; try seed=0"),
    (["train", "relabel.keep=0.1"], "relabel shares keep .* visited must add to 1, got 0.9; try relabel.keep=0.2"),
    (["train", "seed=0,1"], "'seed=0,1' is a sweep"),
    (["train", "encoder._target_=os.system"], "_target_ is refused"),
    (["train", "--steps=3"], "unknown option '--steps=3'"),
    (["train", "-m", "seed=0,x"], "seed must be a whole number, got 'x'"),
    (["resume"], "the following arguments are required: RUN; try rig resume --help"),
    (["resume", "nowhere"], "run folder 'nowhere' does not exist; try runs/one"),
    (["resume", "runs"], "run folder 'runs' has no config.yaml: it is no run folder; try runs/one"),
    (["resume", "runs/one/config.yaml"], "run folder 'runs/one/config.yaml' is a file"),
    (["resume", "runs/one", "seed=1"], "seed cannot change in a resumed run"),
    (["resume", "runs/one", "--steps", "3"], "unrecognized arguments: --steps"),
    (["evaluate", "runs/on"], "run folder 'runs/on' does not exist; try runs/one"),
    (["evaluate", "runs/one", "--episodes", "0"], "argument --episodes: expected a whole number of at least 1, got '0'"),
    (["evaluate", "runs/one", "--seed", "-1"], "argument --seed: expected"),
    (["evaluate", "runs/one", "--checkpoint", "last"], "argument --checkpoint: expected .*, got 'last'"),
    (["evaluate", "runs/one", "--goal", "none.png", "task.horizon=3"], "--goal none.png: no such file; expected a picture"),
    (["evaluate", "runs/one", "--gif", "no/a.gif"], "argument --gif: cannot write 'no/a.gif': expected a file in a folder"),
    (["evaluate", "runs/one", "--json", "runs"], "argument --json: cannot write 'runs'"),
    (["imagine", "nowhere"], "run folder 'nowhere' does not exist"),
    (["imagine", "runs/one", "--count", "x"], "argument --count: expected a whole number"),
    (["export", "runs/one", "policy.zip"], "the following arguments are required: --to"),
    (["export", "runs/one", "--to", "onnx", "policy.zip"], "argument --to: invalid choice: 'onnx' .*sb3"),
    (["list", "encoder"], "argument what: invalid choice: 'encoder' .*'encoders'"),
    (["list", "goals", "--pictures", "out"], "only tasks have pictures, not goals; try rig list tasks --pictures out"),
    (["doctor", "--fix"], "unrecognized arguments: --fix"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: list[str], message: str, folder: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(elsewhere.rglob("*"))
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert re.fullmatch(rf"rig: ({message}).*\n", shown.err), shown.err
    assert shown.out == "" and sorted(elsewhere.rglob("*")) == before


def test_a_damaged_configuration_is_one_line(folder: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = to_yaml(compose([]))
    for text in ("task: [", "", "task: {name: reach}\n", whole + "stepz: 3\n", whole.replace("td3", "td4")):
        (elsewhere / folder / "config.yaml").write_text(text)
        assert main(["resume", folder]) == 2
        assert re.fullmatch(r"rig: .*\n", capsys.readouterr().err)


def test_the_process_says_it_the_same_way(elsewhere: Path) -> None:
    done = run("-m", "rig", "train", "task=rech")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"rig: unknown task 'rech'; valid: {', '.join(GROUPS['task'].table)}; try task=reach\n"
    assert list(elsewhere.iterdir()) == []


def test_a_bug_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(config: RunConfig) -> int:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(commands, "train", train)
    with pytest.raises(ZeroDivisionError):
        main(["train"])


def test_ctrl_c_before_training_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(config: RunConfig) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "train", train)
    assert main(["train"]) == 130


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_what_the_disk_refuses_is_bad_input(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> int:
        raise OSError(code, os.strerror(code), "somewhere")

    assert guarded(refuse) == 2
    assert re.fullmatch(rf"rig: {os.strerror(code)}: somewhere; .*\n", capsys.readouterr().err)


def test_other_errors_of_the_system_are_bugs() -> None:
    def refuse() -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    with pytest.raises(OSError, match="Bad file"):
        guarded(refuse)


def test_a_reader_that_leaves_early_is_no_bug() -> None:
    script = f"{sys.executable} -m rig list | head -c 1 > /dev/null; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.stderr == "" and done.returncode in (0, 1)


@pytest.mark.parametrize(
    "code",
    [
        "import rig, gymnasium; gymnasium.spec('rig/Reach-v0')",
        "import gymnasium, rig; gymnasium.spec('rig/Push-v0')",
        "import rig; from gymnasium.envs.registration import spec; spec('rig/Push-v0')",
        "import rig, importlib.util as u; u.find_spec('gymnasium'); import gymnasium; gymnasium.spec('rig/Reach-v0')",
        "import gymnasium; gymnasium.make('rig:rig/Reach-v0').close()",
    ],
)
def test_the_gymnasium_ids_are_there_in_whatever_order(code: str) -> None:
    done = run("-W", "error", "-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", rig.__all__)
def test_the_public_face_has_what_it_names(name: str) -> None:
    assert getattr(rig, name) is not None


def test_the_public_face_has_no_more() -> None:
    with pytest.raises(AttributeError, match="module 'rig' has no attribute 'nothing'"):
        _ = rig.nothing
