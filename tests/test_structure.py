"""The shape of the program: who may import whom, how large things may grow, and what no file may do.

Each rule is a function from sources to a list of breaches, run on the files of the checkout and, to prove that it can fail, on a
few lines that break it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
MAX_FILE, MAX_FUNCTION = 350, 60  # lines

# From the ground up. A module imports from the floors below its own, and from its own package; never sideways.
# The package itself is the ground: it names things for type checkers, and imports nothing until it is asked for them.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("rig", "rig.errors", "rig.envs"),
    ("rig.types", "rig.nets", "rig.trunk", "rig.files", "rig.tensors", "rig.stats", "rig.roofline"),
    ("rig.video",),
    ("rig.encoders", "rig.goals", "rig.learners", "rig.replay", "rig.rewards", "rig.probe"),
    ("rig.skew",),
    ("rig.online", "rig.frontier"),
    ("rig.algorithm",),
    ("rig.evaluate", "rig.log", "rig.checkpoint", "rig.coverage"),
    ("rig.report", "rig.state", "rig.compiling", "rig.contact_sheet", "rig.diagnose"),
    ("rig.run",),
    ("rig.config",),
    ("rig.config_check", "rig.choices"),
    ("rig.config_io", "rig.build"),
    ("rig.seeing", "rig.reuse"),
    ("rig.cli_compose", "rig.commands", "rig.doctor_probes", "rig.compare"),
    ("rig.cli_help", "rig.doctor", "rig.export", "rig.profile", "rig.compare_report", "rig.ablate"),
    ("rig.cli",),
    ("rig.__main__",),
)
HYDRA = ("rig.cli", "rig.cli_compose")  # the only ones that may import it
IMPORTED_AS = {"hydra_core": "hydra", "pillow": "PIL", "pyyaml": "yaml", "warp_lang": "warp"}
BANNED = {
    **dict.fromkeys(("torch.manual_seed", "torch.random.manual_seed", "torch.seed", "random.seed"), "seeds everyone's generator"),
    **dict.fromkeys(("torch.cuda.manual_seed", "torch.cuda.manual_seed_all"), "seeds everyone's generator"),
    **dict.fromkeys(("pickle.load", "pickle.loads", "torch.load", "joblib.load"), "runs whatever a file tells it to"),
}

Sources = Mapping[str, str]


def absolute(source: str) -> Iterator[str]:
    """The full name of every module that is imported by its full name, wherever in the source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


def statements(tree: ast.AST, types: bool) -> Iterator[ast.AST]:
    """Everything in a syntax tree; without `types`, all but what stands below `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if types or not (isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING"):
            yield node
            yield from statements(node, types)


def own_imports(sources: Sources) -> dict[str, set[str]]:
    """Module -> the modules among `sources` that it imports, wherever in it and however it names them."""
    graph: dict[str, set[str]] = {}
    for module, text in sources.items():
        is_package = any(name.startswith(f"{module}.") for name in sources)
        parents = module.split(".") if is_package else module.split(".")[:-1]
        named: set[str] = set()
        for node in statements(ast.parse(text), types=module != "rig"):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                start = parents[: len(parents) - node.level + 1] if node.level else []
                base = ".".join([*start, *([node.module] if node.module else [])])
                below = {f"{base}.{alias.name}" for alias in node.names}
                named |= {name if name in sources else base for name in below}  # `from rig import files` is of rig.files
        graph[module] = (named & sources.keys()) - {module}
    return graph


def floor(module: str) -> tuple[int, str] | None:
    """The floor's number and the room on it; None: the module stands nowhere."""
    for number, rooms in enumerate(FLOORS):
        for room in rooms:
            if module == room or (room != "rig" and module.startswith(f"{room}.")):
                return number, room
    return None


def floor_breaches(sources: Sources) -> list[str]:
    breaches: list[str] = []
    for module, imported in own_imports(sources).items():
        own = floor(module)
        if own is None:
            breaches.append(f"{module} stands on no floor: give it one in FLOORS")
            continue
        for name in sorted(imported):
            other = floor(name)
            if other is not None and other[1] != own[1] and other[0] >= own[0]:
                breaches.append(f"{module} imports {name}, which is not below it")
    return breaches


def cycles(sources: Sources) -> list[str]:
    graph = own_imports(sources)
    done: set[str] = set()
    found: list[str] = []

    def visit(module: str, path: tuple[str, ...]) -> None:
        if module in path:
            found.append(" -> ".join((*path[path.index(module) :], module)))
        elif module not in done:
            for name in sorted(graph[module]):
                visit(name, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())
    return found


def foreign_breaches(sources: Sources) -> list[str]:
    """The worlds know neither rig (their imports are relative) nor torch; only the command line knows Hydra."""
    breaches: list[str] = []
    for module, text in sources.items():
        for name in absolute(text):
            top = name.partition(".")[0]
            if f"{module}.".startswith("rig.envs.") and top in ("rig", "torch"):
                breaches.append(f"{module} imports {name}: the worlds know nothing of it")
            if top == "hydra" and module not in HYDRA:
                breaches.append(f"{module} imports hydra: only {' and '.join(HYDRA)} may")
    return breaches


def undeclared(sources: Sources, declared: set[str]) -> list[str]:
    known = {*sys.stdlib_module_names, "rig", *declared}
    found = {(module, name.partition(".")[0]) for module, text in sources.items() for name in absolute(text)}
    return [f"{module} imports {name}, which pyproject.toml does not name" for module, name in sorted(found) if name not in known]


def size_breaches(sources: Sources) -> list[str]:
    breaches: list[str] = []
    for name, text in sources.items():
        if len(text.splitlines()) > MAX_FILE:
            breaches.append(f"{name} has {len(text.splitlines())} lines: {MAX_FILE} are allowed")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION:
                    breaches.append(f"{name}: {node.name} has {lines} lines: {MAX_FUNCTION} are allowed")
    return breaches


def dotted(node: ast.expr) -> str:
    """a.b.c of an expression that is one, else an empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and dotted(node.value):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def banned_calls(sources: Sources) -> list[str]:
    breaches: list[str] = []
    for module, text in sources.items():
        tree = ast.parse(text)
        full: dict[str, str] = {}  # local name -> what it stands for
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                full |= {alias.asname: alias.name for alias in node.names if alias.asname}
            elif isinstance(node, ast.ImportFrom):
                full |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                first, _, rest = dotted(node.func).partition(".")
                name = f"{full.get(first, first)}.{rest}" if rest else full.get(first, first)
                why = BANNED.get(name)
                if re.fullmatch(r"numpy\.random\.(?!default_rng)[a-z_]+", name):
                    why = "uses everyone's generator"
                if why:
                    breaches.append(f"{module}:{node.lineno} calls {name}, which {why}")
    return breaches


def yaml_breaches(sources: Sources) -> list[str]:
    return [f"{name} says _target_: no YAML names what is called" for name, text in sources.items() if "_target_" in text]


def files(*folders: str, ending: str = "py") -> dict[str, str]:
    """Path below the root -> text. Links are not followed, so that nothing is read twice."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob(f"*.{ending}"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}


def program() -> dict[str, str]:
    """Module name -> source of rig/ and envs/, whose files are known by the names under which they are imported."""
    named: dict[str, str] = {}
    for path, text in files("rig", "envs").items():
        module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        named[module if path.startswith("rig/") else f"rig.{module}"] = text
    return named


def declared() -> set[str]:
    """Names under which what pyproject.toml asks for is imported."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    names = [re.split(r"[^A-Za-z0-9-]", line)[0].lower().replace("-", "_") for line in wanted]
    return {IMPORTED_AS.get(name, name) for name in names}


RULES: dict[str, Callable[[], list[str]]] = {
    "floors": lambda: floor_breaches(program()),
    "no cycles": lambda: cycles(program()),
    "worlds and Hydra": lambda: foreign_breaches(program()),
    "declared": lambda: undeclared(program(), declared()),
    "no global state, no pickle": lambda: banned_calls(program()),
    "sizes": lambda: size_breaches(files("rig", "envs", "scripts", "tests")),
    "plain YAML": lambda: yaml_breaches(files("configs", ending="yaml")),
}


@pytest.mark.parametrize("rule", RULES)
def test_the_program_keeps_its_shape(rule: str) -> None:
    assert RULES[rule]() == []


def test_the_rules_see_the_whole_program() -> None:
    modules = program()
    assert {"rig", "rig.cli", "rig.encoders", "rig.encoders.base", "rig.envs", "rig.envs.task", "rig.files"} <= modules.keys()
    assert len(files("configs", ending="yaml")) > 0
    assert {"torch", "hydra", "PIL", "mujoco_warp", "matplotlib"} <= declared()
    assert {"rig.encoders.vae", "rig.nets"} <= own_imports(modules)["rig.encoders.beta_vae"]
    assert "rig.envs.task" in own_imports(modules)["rig.envs"]


SHELL = dict.fromkeys(("rig", "rig.files", "rig.encoders", "rig.encoders.base", "rig.goals", "rig.envs", "rig.envs.task"), "")


@pytest.mark.parametrize(
    ("module", "source", "breach"),
    [
        ("rig.goals.gaussian", "from rig.encoders.base import Encoder", "rig.encoders.base"),  # sideways
        ("rig.goals.gaussian", "import rig.encoders", "rig.encoders"),
        ("rig.goals.gaussian", "from ..encoders import base", "rig.encoders.base"),
        ("rig.files", "from rig import goals", "rig.goals"),  # upwards
        ("rig.files", "def later():\n    from rig.goals import GOALS", "rig.goals"),
        ("rig.files", "if TYPE_CHECKING:\n    from rig.goals import GOALS", "rig.goals"),
        ("rig", "if TYPE_CHECKING:\n    from rig.types import Batch\nfrom rig.files import Lock", "rig.files"),
        ("rig.envs.task", "from .. import files", "rig.files"),
        ("rig.rooftop", "", "no floor"),
    ],
)
def test_a_breach_of_the_floors_is_found(module: str, source: str, breach: str) -> None:
    (line,) = floor_breaches({**SHELL, module: source})
    assert line.startswith(f"{module} ") and breach in line


def test_what_the_floors_allow_is_no_breach() -> None:
    below = "from rig import files\nfrom rig.envs import task\nimport torch\nfrom .base import Encoder\nfrom . import base"
    face = "if TYPE_CHECKING:\n    from rig.goals import GOALS"
    assert floor_breaches({**SHELL, "rig": face, "rig.encoders.vae": below, "rig.goals": "from rig import __version__"}) == []


@pytest.mark.parametrize("back", ["from rig.encoders import X", "from . import X", "def f():\n    from rig.encoders import X"])
def test_a_cycle_is_found(back: str) -> None:
    table = "from rig.encoders.base import Encoder\nfrom rig.encoders.vae import VAE"
    assert cycles({**SHELL, "rig.encoders": table, "rig.encoders.vae": "from .base import Encoder"}) == []
    (line,) = cycles({**SHELL, "rig.encoders": table, "rig.encoders.vae": back})
    assert line == "rig.encoders -> rig.encoders.vae -> rig.encoders"


@pytest.mark.parametrize(
    ("rule", "module", "source"),
    [
        (foreign_breaches, "rig.envs.task", "import torch"),
        (foreign_breaches, "rig.envs", "from torch.nn import Module"),
        (foreign_breaches, "rig.envs.task", "from rig.envs.camera import pose"),
        (foreign_breaches, "rig.envs.task", "def later():\n    import rig"),
        (foreign_breaches, "rig.run", "from hydra.core import plugins"),
        (lambda sources: undeclared(sources, {"torch"}), "rig.run", "import pandas.io"),
        (banned_calls, "rig.run", "import torch\ntorch.manual_seed(0)"),
        (banned_calls, "rig.run", "import torch as t\nt.cuda.manual_seed_all(0)"),
        (banned_calls, "rig.run", "from torch import manual_seed as seed\nseed(0)"),
        (banned_calls, "rig.envs", "import numpy as np\nnp.random.seed(0)"),
        (banned_calls, "rig.envs", "import numpy as np\nx = np.random.uniform(0, 1)"),
        (banned_calls, "rig.envs", "from numpy import random\nrandom.seed(0)"),
        (banned_calls, "rig.run", "import pickle\npickle.load(open('a'))"),
        (banned_calls, "rig.run", "import torch\ntorch.load('a')"),
        (size_breaches, "long.py", "\n" * 351),
        (size_breaches, "long.py", "class A:\n    async def f(self):\n" + "        pass\n" * 60),
        (yaml_breaches, "a.yaml", "encoder:\n  _target_: rig.encoders.BetaVAE"),
    ],
)
def test_a_breach_of_another_rule_is_found(rule: Callable[[Sources], list[str]], module: str, source: str) -> None:
    (line,) = rule({module: source})
    assert line.startswith(module)


@pytest.mark.parametrize(
    ("rule", "module", "source"),
    [
        (foreign_breaches, "rig.envs.task", "from .camera import pose\nfrom . import camera\nimport numpy, mujoco"),
        (foreign_breaches, "rig.cli", "import hydra"),
        (lambda sources: undeclared(sources, {"torch"}), "rig.run", "import os, torch.nn, rig\nfrom . import files"),
        (banned_calls, "rig.run", "import torch\nimport numpy as np\ng = torch.Generator().manual_seed(0)\ng.manual_seed(1)"),
        (banned_calls, "rig.run", "import numpy as np\nrng = np.random.default_rng(0)\nnp.random.PCG64(1)\nrng.uniform(2)"),
        (size_breaches, "just.py", "def f():\n" + "    pass\n" * 59 + "\n" * 290),
        (yaml_breaches, "a.yaml", "name: reach"),
    ],
)
def test_what_the_other_rules_allow_is_no_breach(rule: Callable[[Sources], list[str]], module: str, source: str) -> None:
    assert rule({module: source}) == []
