"""The encoder in the docs is one that really trains."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rig.cli_compose import compose
from rig.commands import train

PAGE = Path(__file__).resolve().parent.parent / "docs" / "adding-an-encoder.md"


def test_the_encoder_in_the_docs_trains_and_is_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(# my_encoders\.py\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith(("#", "from", "import"))]) <= 20
    (tmp_path / "my_encoders.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    tiny = ["task.horizon=10", "collect.frames=200", "collect.length=10", "steps=60", "random_steps=20"]
    judged = ["evaluation.episodes=2", "evaluation.final_episodes=2", "evaluation.probe_states=400"]
    config = compose([*tiny, *judged, "encoder=my_encoders:PCA", f"run_dir={tmp_path / 'run'}"])
    assert train(config) == 0
    result = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert result["encoder"] == "my_encoders:PCA"
    assert len(result["per_episode"]) == 2
    seen = json.loads((tmp_path / "run" / "encoder.json").read_text())
    assert seen["probe"]["hand_x"]["r2"] > 0.8 and 0 < seen["frame"]["hand_x"]["r2"] <= 1 <= seen["coordinates"] <= 8
    assert seen["near_spearman"] > 0.2 and 1 <= seen["active_units"] <= 8 and 0.4 < seen["goal_gap"] <= 1
    assert "moving_r2" not in seen  # it decodes nothing
