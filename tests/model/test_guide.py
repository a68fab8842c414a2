"""The guide's code runs from top to bottom, on a tiny checkpoint under the large one's name."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from diysink.connector import CONNECTORS
from diysink.encoders import load_encoder
from tests.model.test_conversion import profile_of, write

GUIDE = Path(__file__).parents[2] / "docs/guides/transformers.md"


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT asks it
def test_the_code_runs(tmp_path, monkeypatch, tokenizer, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "llava-hf" / "llava-1.5-7b-hf"
    write(folder, "clip", "llama", tokenizer)
    Image.new("RGB", (20, 14), "red").save("picture.jpg")
    profile_of(folder).save("profile.json")
    torch.manual_seed(0)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 8
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), names)
    assert capsys.readouterr().out.strip()
    # What it saved is what it says: the encoder that the profile is of, and a tuned model.
    names["profile"].check(load_encoder("encoder").identity)
    assert AutoModelForImageTextToText.from_pretrained("tuned").config.model_type == "diysink"


def test_the_code_about_selections_runs(tmp_path, monkeypatch, tokenizer, tiny_sentence, capsys):
    from diysink import from_llava
    from diysink.selection import (
        Reweight,
        ReweightSelection,
        ReweightSettings,
        SentenceEncoder,
        save_selection,
    )

    monkeypatch.chdir(tmp_path)
    write(tmp_path / "llava", "clip", "llama", tokenizer)
    profile = profile_of(tmp_path / "llava")
    from_llava(tmp_path / "llava", profile, arrangement="front").save("diysink-llava-1.5-7b")
    Image.new("RGB", (20, 14), "red").save("picture.jpg")
    reweight = Reweight(ReweightSettings(dim=8))
    save_selection(
        ReweightSelection(SentenceEncoder.load(tiny_sentence), reweight), Path("reweight")
    )
    Path("sentence").symlink_to(tiny_sentence)
    page = GUIDE.parent / "selection.md"
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
        exec(compile(block, str(page), "exec"), names)
    assert "Route" in capsys.readouterr().out
    table = page.read_text().split("| name |")[1].split("##")[0]
    told = {
        name
        for row in table.split("\n| ")[1:]
        for name in re.findall(r"`([\w-]+)`", row.split("|")[0])
    }
    assert set(names["model"].selections) | {"reweight-keys", "lsg"} == told


def test_the_table_has_every_connector():
    table = GUIDE.read_text().split("## Connectors")[1].split("##")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", table, flags=re.MULTILINE) == list(CONNECTORS)
