"""`rig doctor`: every probe is tried for real, and what would stop training decides the exit code."""

from __future__ import annotations

import os
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

from rig import doctor
from rig.cli import main
from rig.doctor import DISTRIBUTION, Finding, free_memory, renderers, satisfies, space, tried, versions
from rig.doctor_probes import PROBES

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def from_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.mark.parametrize(
    ("found", "wanted", "fits"),
    [
        ("2.13.0+cpu", ">=2.10,<2.14", True),
        ("2.9.1", ">=2.10,<2.14", False),
        ("2.14", ">=2.10,<2.14", False),
        ("2.14.0rc1", "<2.14", False),
        ("1.4", ">=1.1,<2", True),
        ("3.17.0", "==3.17", True),
        ("3.17.1", "==3.17", False),
        ("10.3", ">10.2,<=10.3", True),
        ("1.0", "", True),
    ],
)
def test_versions_are_held_against_ranges(found: str, wanted: str, fits: bool) -> None:
    assert satisfies(found, wanted) is fits


def installed(monkeypatch: pytest.MonkeyPatch, found: dict[str, str], requirements: list[str] | None) -> dict[str, Finding]:
    """What `versions` finds where these are the installed packages and this is what rig needs."""

    def version(package: str) -> str:
        if package not in found:
            raise metadata.PackageNotFoundError(package)
        return found[package]

    def requires(package: str) -> list[str]:
        if requirements is None:
            raise metadata.PackageNotFoundError(package)
        return requirements

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", requires)
    return {finding.what: finding for finding in versions()}


def test_wrong_and_missing_packages_come_with_the_command_that_mends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"torch": "2.9.0", "mujoco": "3.17.1", "mujoco-warp": "3.16.0", "numpy": "2.4.0"}
    needs = ["torch>=2.10,<2.14", "mujoco<4,>=3.11", "mujoco-warp<4,>=3.11", "numpy>=1.26,<3", "safetensors>=0.5,<1"]
    needs += ['pytest>=8; extra == "dev"']
    findings = installed(monkeypatch, found, needs)
    assert {name for name, finding in findings.items() if finding.needed and not finding.fine} == {
        "torch", "mujoco = mujoco-warp", "safetensors",
    }  # fmt: skip
    assert "'torch>=2.10,<2.14'" in findings["torch"].mend and findings["torch"].mend.startswith(sys.executable)
    assert "'mujoco==3.16.*' 'mujoco-warp==3.16.*'" in findings["mujoco = mujoco-warp"].mend
    assert "'safetensors>=0.5,<1'" in findings["safetensors"].mend
    assert "pytest" not in findings and findings["stable-baselines3"].needed is False


def test_a_checkout_that_is_not_installed_is_said_and_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = installed(monkeypatch, {}, None)
    assert not findings[DISTRIBUTION].fine and not findings[DISTRIBUTION].needed
    assert findings[DISTRIBUTION].mend.endswith("-m pip install -e .")


def test_the_distribution_is_the_one_that_pyproject_names() -> None:
    assert f'name = "{DISTRIBUTION}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("probe", ["physics", "learner", "buffer"])
def test_probes_measure(probe: str) -> None:
    found = tried(probe, 120)
    assert "error" not in found
    assert found.get("per_s", found.get("bytes")) > 0


def test_a_transition_takes_what_a_frame_and_its_company_take() -> None:
    found = PROBES["buffer"]()
    frame, code, action, goal = 48 * 48 * 3, 8 * 4, 2 * 4, 8 * 4
    assert found["bytes"] == pytest.approx((frame + code) * 51 / 50 + action + goal / 50)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("import os; os.abort()", "the process was ended by SIGABRT"),
        ("raise ImportError('libEGL is not here')", "ImportError: libEGL is not here"),
        ("import time; time.sleep(60)", "no answer within 0.5 s"),
        ("raise SystemExit(3)", "no word of why"),
    ],
)
def test_a_probe_that_dies_is_only_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, error: str) -> None:
    (tmp_path / "python").write_text(f"#!{sys.executable}\n{script}\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert tried("warp", 0.5 if "sleep" in script else 60) == {"error": error}


def test_renderers_are_tried_and_broken_opengl_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "BACKENDS", {name: ("osmesa",) for name in ("Linux", "Darwin", "Windows")})
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    warp, osmesa, physics = renderers()
    assert warp.fine and warp.needed and re.fullmatch(r"[\d,]+ frames/s of 48x48 pixels", warp.value)
    assert not osmesa.needed and (osmesa.fine or osmesa.mend)
    assert physics.fine and re.fullmatch(r"[\d,]+ env steps/s", physics.value)


@pytest.mark.parametrize(("on", "driver", "problems"), [("cpu", True, ["gpu"]), ("cpu", False, []), ("cuda", True, [])])
def test_a_gpu_that_lies_idle_is_said(on: str, driver: bool, problems: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"per_s": 70.0, "device": on, "name": "a device", "threads": 1, "torch": "2.13.0+cpu"}
    monkeypatch.setattr(doctor, "tried", lambda probe, seconds: found)
    monkeypatch.setattr(doctor, "_succeeds", lambda *command: driver)
    findings = doctor.device()
    assert [finding.what for finding in findings if not finding.fine] == problems
    assert all(not finding.needed and "--index-url" in finding.mend for finding in findings if not finding.fine)


def test_space_is_what_this_machine_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "tried", lambda probe, seconds: {"bytes": 7092.0})
    assert 0 < free_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert [finding.what for finding in space()] == ["buffer", "memory", "disk", "folder"]
    monkeypatch.setattr(doctor, "tried", lambda probe, seconds: {"bytes": 1e12})
    lacking = {finding.what: finding for finding in space() if not finding.fine}
    assert set(lacking) == {"memory", "disk"} and "rig train steps=1" in lacking["memory"].mend


def test_what_is_installed_anew_is_in_the_range_that_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: ["torch>=2.10,<2.14", "mujoco >=3.11", "sb3>=2; extra == 'sb3'"])
    assert doctor._again("torch", "mujoco", "sb3").endswith(" --force-reinstall 'torch>=2.10,<2.14' 'mujoco>=3.11' sb3")


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, used = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(doctor, "CONTAINER_LIMITS", ((tmp_path, "memory.max", "memory.current", "inactive_file"),))
    limit.write_text("3000000\n")
    used.write_text("1000000\n")
    assert free_memory() == 2_000_000
    (tmp_path / "memory.stat").write_text("anon 7\ntotal_inactive_file 9\ninactive_file 400000\n")
    assert free_memory() == 2_400_000, "a cache is given back where memory is asked for"
    limit.write_text("max\n")
    assert free_memory() > 2_000_000


@pytest.mark.parametrize(
    ("finding", "code", "verdict"),
    [
        (Finding("thing", "works"), 0, "[ok]"),
        (Finding("thing", "broken", False, "mend thing", needed=False), 0, "[not here, not needed]\n.*to mend it: mend thing"),
        (Finding("thing", "broken", False, "mend thing"), 1, "[PROBLEM]\n.*to mend it: mend thing"),
    ],
)
def test_only_what_training_needs_decides(
    finding: Finding, code: int, verdict: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "SECTIONS", {"all": lambda: [finding]})
    assert main(["doctor"]) == code
    shown = capsys.readouterr().out
    assert re.search(verdict.replace("[", r"\[").replace("]", r"\]"), shown)
    assert shown.endswith("training would work here\n" if code == 0 else "training would fail here: thing\n")
