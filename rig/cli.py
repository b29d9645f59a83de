"""The command line. Nothing heavy is imported before the command that needs it is known."""

from __future__ import annotations

import argparse
import difflib
import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rig import __version__
from rig.errors import UserError

if TYPE_CHECKING:
    from rig.config import RunConfig

COMMANDS = {
    "train": "train an agent: rig train [group=name ...] [key=value ...], -m sweeps, --help lists everything",
    "encode": "train an encoder alone: rig encode train task=push encoder=beta_vae, for others to use by encoder.from=RUN",
    "resume": "go on from the newest valid checkpoint of a run",
    "evaluate": "let a trained agent reach goals it has never seen, or goals in picture files",
    "imagine": "draw imagined goals beside real frames",
    "export": "hand the policy to another library",
    "profile": "where the time of a training goes, and what limits it",
    "ablate": "train a grid of runs, each in a process of its own: rig ablate task=reach encoder=beta_vae,oracle seed=0,1,2",
    "compare": "runs side by side: which setting is better, by how much, and how sure that is",
    "list": "tasks, encoders, goal samplers, rewards, learners, each with its source",
    "doctor": "what works on this machine, how fast, and how to mend what does not",
}
LISTS = {
    "tasks": "task", "encoders": "encoder", "goals": "goals", "frames": "frame", "rewards": "reward", "relabel": "relabel",
    "learners": "learner",
}  # fmt: skip
"""Word after `rig list` -> group."""
BAD_INPUT = 2
REFUSALS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS), "make room or choose another folder"),
    **dict.fromkeys((errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP), "choose another path"),
}
"""What the operating system says -> what the user can do about it."""


class _Parser(argparse.ArgumentParser):
    """argparse, but bad input is one line with the nearest valid word."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; try {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `rig` with the given arguments (the process's own by default) and return its exit code.

    0 done; 1 a bug, or `doctor` found a problem; 2 bad input, with one line on stderr; 130 and 143 stopped by SIGINT and SIGTERM.
    """
    _mend_streams()
    try:
        code = guarded(lambda: _dispatch(sys.argv[1:] if argv is None else list(argv)))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains once more as it exits
        return 1
    except KeyboardInterrupt:
        return 130


def _mend_streams() -> None:
    """Where a stream is closed, write to nowhere; where its encoding lacks a character, write another."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def guarded(action: Callable[[], int]) -> int:
    """The exit code of `action`; what the user can mend becomes one line on stderr."""
    try:
        return action()
    except UserError as error:
        print(f"rig: {error}", file=sys.stderr)
    except ValueError as error:
        from rig.envs import WorldsError  # what could raise it has imported it

        if not isinstance(error, WorldsError):
            raise
        print(f"rig: {error}", file=sys.stderr)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        where = f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
        print(f"rig: {where}; {REFUSALS[error.errno]}", file=sys.stderr)
    except MemoryError as error:
        print(f"rig: there is not the memory for that{f': {error}' if str(error) else ''}; give smaller numbers", file=sys.stderr)
    return BAD_INPUT


def _dispatch(argv: list[str]) -> int:
    if argv[:1] == ["train"]:
        return _train(argv[1:])
    if argv[:1] == ["encode"] and not {"-h", "--help"} & set(argv[1:2]):
        return _encode(argv[1:])
    if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
        like = difflib.get_close_matches(argv[0], COMMANDS, 1)
        raise UserError(f"unknown command '{argv[0]}'; valid: {', '.join(COMMANDS)}" + (f"; try rig {like[0]}" if like else ""))
    parser = _parser()
    if not argv:
        parser.print_help()
        return BAD_INPUT
    try:
        arguments, rest = parser.parse_known_args(argv)
    except SystemExit as end:  # --help and --version
        return int(end.code or 0)
    if rest and not (hasattr(arguments, "overrides") and all("=" in text and text[0] != "-" for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # argparse has no eye for those that come after an option
        arguments.overrides += rest
    return arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    """Every command but train, whose arguments are Hydra's."""
    parser = _Parser(prog="rig", description="Reinforcement learning with imagined goals, from pixels.")
    parser.add_argument("--version", action="version", version=f"rig {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], int], *, takes_run: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=COMMANDS[name], description=COMMANDS[name])
        command.set_defaults(run=run)
        if takes_run:
            command.add_argument("folder", metavar="RUN", help="folder of a run, as rig train made it")
        return command

    add("train", lambda _: 0, takes_run=False)
    add("encode", lambda _: 0, takes_run=False).add_argument("train", help="followed by what rig train takes, but steps")
    command = add("resume", _resume)
    changes = "changes, as in steps=30000; a setting that cannot change is refused with the list of those that can"
    command.add_argument("overrides", nargs="*", default=[], metavar="key=value", help=changes)
    command = add("evaluate", _evaluate)
    looks = "changes: how the world is looked at, as in task.distractors=4, or learner.candidates=1, the actor alone"
    command.add_argument("overrides", nargs="*", default=[], metavar="key=value", help=looks)
    command.add_argument("--episodes", type=_count, default=50, help="goals, one rollout each (50)")
    command.add_argument("--seed", type=_natural, default=0, help="of the goals and starts (0)")
    command.add_argument("--checkpoint", type=_natural, metavar="STEP", help="env step of the checkpoint (the newest valid one)")
    command.add_argument("--goal", type=Path, nargs="+", action="extend", metavar="PICTURE", help="goals from pictures instead")
    command.add_argument("--gif", type=_writable, metavar="FILE", help="film of the rollouts")
    command.add_argument("--json", type=_writable, metavar="FILE", help="all numbers")
    command = add("imagine", _imagine)
    command.add_argument("--count", type=_count, default=64, help="goals to draw (64)")
    command.add_argument("--out", type=_writable, metavar="FILE", help="picture to write (imagined.png)")
    command = add("export", _export)
    command.add_argument("--to", choices=["sb3"], required=True, help="format: sb3 for stable_baselines3.TD3.load")
    command.add_argument("file", type=_writable, metavar="FILE", help="file to write, e.g. policy.zip")
    command = add("profile", _profile, takes_run=False)
    command.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="what rig train takes")
    command.add_argument("--steps", type=_count, default=500, help="env steps that are timed (500)")
    command.add_argument("--trace", type=_writable, metavar="FILE", help="Chrome trace to write, e.g. trace.json")
    command = add("ablate", _ablate, takes_run=False)
    command.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="what rig train -m takes")
    command.add_argument("--jobs", type=_count, default=1, help="runs at a time, each with its share of the cores (1)")
    command = add("compare", _compare, takes_run=False)
    command.add_argument("folders", type=Path, nargs="+", metavar="RUN", help="run folders, or folders of them")
    command.add_argument("--by", type=_words, default=[], metavar="SETTINGS", help="as in encoder,frame (all that differ)")
    metric = "a column of progress.csv, or a figure of encoder.json (final_distance)"
    command.add_argument("--metric", default="final_distance", help=metric)
    command.add_argument("--step", type=_natural, help="env step of the comparison (the last that complete runs share)")
    command.add_argument("--codes", action="store_true", help="also what was measured of their codes, task by task")
    for name, what in {"csv": "figures in full", "md": "Markdown tables", "tex": "LaTeX table", "png": "curves"}.items():
        command.add_argument(f"--{name}", type=_writable, metavar="FILE", help=f"{what}, to a file")
    command = add("list", _list, takes_run=False)
    command.add_argument("what", nargs="?", choices=list(LISTS), help="only these (all)")
    command.add_argument("--pictures", type=Path, metavar="FOLDER", help="also write a picture of every task, FOLDER/tasks.png")
    add("doctor", _doctor, takes_run=False)
    return parser


def _train(argv: list[str]) -> int:
    if {"-h", "--help"} & set(argv):
        from rig.cli_help import train_help

        print(train_help())
        return 0
    from rig import cli_compose

    flags = {"-m", "--multirun"}
    overrides = [text for text in argv if text not in flags]
    if flags & set(argv):
        return cli_compose.sweep(overrides, _train_one)
    return _train_one(cli_compose.compose(overrides), ())


def _encode(argv: list[str]) -> int:
    if argv[:1] != ["train"]:
        raise UserError(f"rig encode can only train, got '{' '.join(argv[:1])}'; try rig encode train task=push encoder=beta_vae")
    if steps := [text for text in argv if text.lstrip("+").startswith("steps=")]:
        raise UserError(f"rig encode train trains an encoder alone, got {steps[0]}; try rig train, or encoder.training.steps=")
    return _train([*argv[1:], "steps=0"])


def _train_one(config: RunConfig, _: Sequence[str]) -> int:
    from rig.commands import train

    return guarded(lambda: train(config))


def _resume(arguments: argparse.Namespace) -> int:
    run = _run_folder(arguments.folder)
    from rig.cli_compose import RESUMABLE, override
    from rig.commands import resume
    from rig.config_io import load_config

    return resume(run, override(load_config(run), arguments.overrides, RESUMABLE, "a resumed run"))


def _evaluate(arguments: argparse.Namespace) -> int:
    run = _run_folder(arguments.folder)
    after = [path for path in arguments.goal or [] if "=" in str(path) and not path.exists()]  # settings typed behind pictures
    goals = [path for path in arguments.goal or [] if path not in after]
    for picture in goals:
        if not picture.is_file():
            raise UserError(f"--goal {picture}: no such file; expected a picture")
    from rig.cli_compose import EVALUABLE, override
    from rig.commands import evaluate_run
    from rig.config_io import load_config

    config = override(load_config(run), [*arguments.overrides, *map(str, after)], EVALUABLE, "an evaluation")
    return evaluate_run(
        run, config, arguments.episodes, arguments.seed, arguments.checkpoint, goals, arguments.gif, arguments.json
    )


def _imagine(arguments: argparse.Namespace) -> int:
    run = _run_folder(arguments.folder)
    from rig.commands import imagine_run

    return imagine_run(run, arguments.count, arguments.out)


def _export(arguments: argparse.Namespace) -> int:
    run = _run_folder(arguments.folder)
    from rig.export import export_sb3

    return export_sb3(run, arguments.file)


def _profile(arguments: argparse.Namespace) -> int:
    from rig.cli_compose import compose

    config = compose(arguments.overrides)
    from rig.profile import profile

    return profile(config, arguments.steps, arguments.trace)


def _ablate(arguments: argparse.Namespace) -> int:
    from rig.ablate import ablate

    return ablate(arguments.overrides, arguments.jobs)


def _compare(arguments: argparse.Namespace) -> int:
    from rig import compare_report as report
    from rig import files
    from rig.compare import compare

    found = compare(arguments.folders, arguments.by, arguments.metric, arguments.step)
    print(report.as_text(found, arguments.codes))
    markdown, latex = (partial(write, codes=arguments.codes) for write in (report.as_markdown, report.as_latex))
    for file, write in ((arguments.csv, report.as_csv), (arguments.md, markdown), (arguments.tex, latex)):
        if file:
            files.write(file, write(found).encode())
    if arguments.png:
        report.plot(found, arguments.png)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    if arguments.pictures and arguments.what not in (None, "tasks"):
        raise UserError(f"only tasks have pictures, not {arguments.what}; try rig list tasks --pictures {arguments.pictures}")
    from rig.cli_help import list_parts

    print(list_parts([LISTS[arguments.what]]) if arguments.what else list_parts())
    if arguments.pictures:
        from rig.contact_sheet import contact_sheet
        from rig.envs import TASKS
        from rig.video import write_png

        sheet = arguments.pictures / "tasks.png"
        write_png(sheet, contact_sheet(TASKS))
        print(f"\n{sheet}: the start, three goals and three random states of each task")
    return 0


def _doctor(_: argparse.Namespace) -> int:
    from rig.doctor import doctor

    return doctor()


def _run_folder(text: str) -> Path:
    """A run's folder. Raises UserError where it is none, with the nearest that is."""
    run = Path(text)
    if (run / "config.yaml").is_file():
        return run
    runs = sorted(str(config.parent) for config in [*run.parent.glob("*/config.yaml"), *Path("runs").glob("*/config.yaml")])
    like = difflib.get_close_matches(text, runs, 1, 0.3) or runs[-1:]
    hint = f"; try {like[0]}" if like else "; rig train makes one"
    what = "has no config.yaml: it is no run folder" if run.is_dir() else "is a file" if run.exists() else "does not exist"
    raise UserError(f"run folder '{text}' {what}{hint}")


def _count(text: str) -> int:
    """A whole number of at least 1, and no more than a million."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got '{text}'")
    if int(text) > 1_000_000:
        raise argparse.ArgumentTypeError(f"expected at most 1000000, got '{text}'")
    return int(text)


def _natural(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got '{text}'")
    return int(text)


def _words(text: str) -> list[str]:
    """Words between commas."""
    return [word for word in text.split(",") if word]


def _writable(text: str) -> Path:
    """A file that can be written later: found out now, not after an hour's work."""
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"cannot write '{text}': expected a file in a folder that exists and is writable")
    return path


if __name__ == "__main__":
    raise SystemExit(main())
