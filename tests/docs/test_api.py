"""The code that README.md and docs/api.md show runs as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nvs.refine import plan

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = [
    (page, code)
    for page in ("README.md", "docs/api.md")
    for code in re.findall(
        r"^```python\n(.*?)^```", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE
    )
]


@pytest.mark.parametrize(("page", "code"), BLOCKS, ids=[page for page, _ in BLOCKS])
def test_it_runs(page, code, tmp_path, monkeypatch):
    monkeypatch.setitem(plan.QUALITIES, "good", plan.Quality(rounds=1, least=2, most=2, minutes=1.0))
    monkeypatch.setattr(plan, "LEAST_STEPS", 2)
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(tmp_path / f"photos/{i}.jpg")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, page, "exec"), {})
    assert (tmp_path / ("scene.ply" if "import nvs" in code else "scene/scene.json")).is_file()
