"""Build the source package, from that the wheel, install it where the checkout is not, and use it there.

    python scripts/check_wheel.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "rig", "envs", "configs")
PACKED = (".py", ".typed", ".xml", ".yaml")  # the kinds of file that the program is made of
PROBE = "import rig, rig.envs; assert {venv!r} in rig.__file__ and {venv!r} in rig.envs.__file__; print(rig.__version__)"
COMMANDS = (["--version"], ["--help"], ["list"], ["train", "--help"])


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints; ends the program where it fails."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit(f"{done.stdout}\nwheel: {' '.join(map(str, command))} failed")
    return done.stdout


def build(work: Path) -> Path:
    """The wheel, from a copy: a build folder in the checkout would put what was deleted since into it."""
    copy = work / "copy"
    copy.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    run(sys.executable, "-m", "build", "--outdir", work / "dist", copy, cwd=work)
    (wheel,) = (work / "dist").glob("*.whl")
    return wheel


def missing(wheel: Path) -> list[str]:
    """Files of the program that the wheel lacks."""
    folders = [ROOT / "rig", *(path for path in (ROOT / "rig").iterdir() if path.is_dir())]
    files = {path for folder in folders for path in folder.resolve().rglob("*") if path.suffix in PACKED}
    inside = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    packed = {name if name.startswith("rig/") else f"rig/{name}" for name in inside}
    return sorted(packed - set(zipfile.ZipFile(wheel).namelist()))


def main() -> None:
    """Do it."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder).resolve()
        wheel = build(work)
        lacking = missing(wheel)
        if lacking:
            sys.exit(f"wheel: {wheel.name} lacks {', '.join(lacking)}")
        venv, elsewhere = work / "venv", work / "elsewhere"
        elsewhere.mkdir()
        run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=work)
        (site,) = venv.glob("lib/python*/site-packages")
        # The packages that rig needs are borrowed. The .pth files among them are not followed, so the editable rig is not.
        (site / "borrowed.pth").write_text("".join(f"{path}\n" for path in sys.path if path.endswith("-packages")))
        python = venv / "bin" / "python"
        run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=elsewhere)
        version = run(python, "-c", PROBE.format(venv=str(venv)), cwd=elsewhere).strip()
        for words in COMMANDS:
            run(venv / "bin" / "rig", *words, cwd=elsewhere)
        print(f"wheel: {wheel.name} has all files; rig {version} works from another folder")


if __name__ == "__main__":
    main()
