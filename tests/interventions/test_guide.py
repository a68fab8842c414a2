"""The guide's code runs, on a tiny model in place of the large one."""

import re
from pathlib import Path

import transformers
from transformers import BatchFeature

from tests.interventions.conftest import built

GUIDE = Path(__file__).parents[2] / "docs/guides/interventions.md"


class Processor:
    """Whatever it is asked, it gives the tiny model's batch."""

    def __init__(self, tiny):
        self.tiny = tiny

    def apply_chat_template(self, messages, **options):
        return BatchFeature(self.tiny.inputs)

    def batch_decode(self, sequences):
        return [str(sequence.tolist()) for sequence in sequences]


def test_the_code_runs(monkeypatch, capsys):
    tiny = built("qwen2_5_vl")
    monkeypatch.setattr(
        transformers.AutoProcessor, "from_pretrained", lambda *args, **kwargs: Processor(tiny)
    )
    monkeypatch.setattr(
        transformers.AutoModelForImageTextToText,
        "from_pretrained",
        lambda *args, **kwargs: tiny.model,
    )
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), names)
    assert "tensor" in capsys.readouterr().out
