"""A language model without a chat template gets the one that its parts name."""

import json
import shutil

import pytest

from diysink.model import Parts, assemble
from diysink.records import Turn
from tests.pipelines.test_conf import parameters


@pytest.fixture
def bare(parts, tmp_path):
    """The tiny parts, their tokenizer without a chat template: as Vicuna's and Phi-2's."""
    shutil.copytree(parts, tmp_path / "parts")
    language = tmp_path / "parts" / "language"
    (language / "chat_template.jinja").unlink(missing_ok=True)
    settings = json.loads((language / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (language / "tokenizer_config.json").write_text(json.dumps(settings))
    return tmp_path / "parts"


def made(bare, template):
    named = Parts(str(bare / "encoder"), str(bare / "language"), chat_template=template)
    return assemble(named, None, connector="single")


def test_without_any_template_a_model_is_refused(bare):
    with pytest.raises(ValueError, match="chat template"):
        assert made(bare, None).chat_encoder


@pytest.mark.parametrize("env", ["llava-1.5-7b", "tinyllava-3.1b"])
def test_the_presets_templates_write_llava_s_conversation(bare, env):
    template = parameters(env)["model"]["chat_template"]
    model = made(bare, template)
    messages = [{"role": "user", "content": "<image>\na"}, {"role": "assistant", "content": "b"}]
    tokenizer = model.processor.tokenizer
    written = tokenizer.apply_chat_template(messages, tokenize=False)
    system = (
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions. "
    )
    assert written == f"{system}USER: <image>\na ASSISTANT: b</s>"
    asked = tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    assert asked == f"{system}USER: <image>\na ASSISTANT:"
    encoded = model.chat_encoder.dialogue([Turn("human", "<image>\na"), Turn("gpt", "b")])
    said = tokenizer.decode(encoded.input_ids[encoded.labels != -100])
    assert said.replace(" ", "") == "b</s>"
