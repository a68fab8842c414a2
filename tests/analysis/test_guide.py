"""The guide's code runs from top to bottom, on a tiny LLaVA under the large one's name."""

import re
from pathlib import Path

from tests.evaluation import lvlms

GUIDE = Path(__file__).parents[2] / "docs/guides/analyses.md"


def test_the_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lvlms.llava(tmp_path / "llava-hf/llava-1.5-7b-hf")
    lvlms.splits(tmp_path / "data/03_primary/records")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL):
        exec(compile(block, str(GUIDE), "exec"), names)
    table = names["tables"]["criteria"]
    assert set(table["metric"]) == {"share", "kappa", "jaccard"}
    assert set(table["where"]) == {"vit", "llm"}
    assert names["left_out"] == {}
    assert capsys.readouterr().out
