"""Tiny random models: vision towers and language models of several kinds, and their tokenizer."""

import json

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    PhiConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
    SiglipVisionModel,
)

WORDS = [
    "<pad>",
    "</s>",
    "<unk>",
    "<image>",
    "USER:",
    "ASSISTANT:",
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
]
VISION = {
    "hidden_size": 12,
    "intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 12,
    "patch_size": 4,
}
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": len(WORDS),
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
    "max_position_embeddings": 64,
}
TOWERS = {
    "clip": lambda: CLIPVisionModel(CLIPVisionConfig(**VISION)),
    "siglip": lambda: SiglipVisionModel(SiglipVisionConfig(**VISION, vision_use_head=False)),
}
LANGUAGES = {
    "llama": lambda: LlamaConfig(**TEXT),
    "qwen2": lambda: Qwen2Config(**TEXT, tie_word_embeddings=True),
    "phi": lambda: PhiConfig(**TEXT),
}


@pytest.fixture(scope="session")
def tokenizer():
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
        chat_template=(
            "{% for m in messages %}"
            "{% if m.role == 'user' %}USER: {{ m.content }} "
            "{% else %}ASSISTANT: {{ m.content }} </s> {% endif %}{% endfor %}"
            "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
        ),
    )


@pytest.fixture(scope="session", params=[("clip", "llama"), ("clip", "qwen2"), ("siglip", "phi")])
def parts(request, tmp_path_factory, tokenizer):
    """Folders of a vision encoder and a language model, and their kinds."""
    vision, language = request.param
    root = tmp_path_factory.mktemp(f"{vision}-{language}")
    torch.manual_seed(0)
    TOWERS[vision]().save_pretrained(root / "encoder")
    kind = "CLIP" if vision == "clip" else "Siglip"
    (root / "encoder" / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": f"{kind}ImageProcessor",
                "size": {"height": 12, "width": 12},
                "do_center_crop": False,
            }
        )
    )
    AutoModelForCausalLM.from_config(LANGUAGES[language]()).save_pretrained(root / "language")
    tokenizer.save_pretrained(root / "language")
    return root


@pytest.fixture(scope="session")
def tiny_records(tmp_path_factory):
    """Sixteen records: a random image, two questions and answers of the tiny vocabulary."""
    import io

    import numpy as np
    from PIL import Image

    from diysink.artifact import digest_bytes
    from diysink.records import ImageFile, Record, Records, Turn, write_shards

    rng = np.random.default_rng(0)
    records = []
    for i in range(16):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(file, "PNG")
        data = file.getvalue()
        words = rng.choice(list("abcdefgh"), 4)
        turns = (
            Turn("human", f"<image> {words[0]}"),
            Turn("gpt", str(words[1])),
            Turn("human", str(words[2])),
            Turn("gpt", str(words[3])),
        )
        image = ImageFile(data, digest_bytes(data), "PNG", 12, 12)
        records.append(Record(f"r{i}", (image,), turns))
    folder = tmp_path_factory.mktemp("records")
    write_shards(folder, records)
    return Records(folder)


@pytest.fixture(scope="session")
def tiny_sentence(tmp_path_factory, tokenizer):
    """A random sentence encoder."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("sentence")
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        vocab_size=len(WORDS), max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def assemble_tiny(parts, **options):
    """A random model of the tiny parts without sinks, with the options of `assemble`."""
    from diysink.model import Parts, assemble

    names = Parts(encoder=str(parts / "encoder"), language=str(parts / "language"))
    return assemble(names, None, **options)


def tiny_generator(parts, *, sinks=None, connector="dual", arrangement="front", max_new_tokens=16):
    """A random model of the tiny parts.

    Args:
        parts: of the fixture.
        sinks: about this share of its visual tokens, those of the highest norms, count as sinks;
            None: none does.
        connector: its kind.
        arrangement: of visual tokens.
        max_new_tokens: of its answers.
    """
    from diysink.model import AnswerGenerator
    from diysink.sinks import token_norms

    made = assemble_tiny(parts, connector=connector, arrangement=arrangement)
    if sinks is not None:
        torch.manual_seed(0)
        norms = token_norms(made.model.model.visual_states(torch.randn(2, 3, 12, 12)).detach())
        made.model.config.tau = float(norms.quantile(1 - sinks))
    return AnswerGenerator(
        made.model, made.chat_encoder, made.image_processor, max_new_tokens=max_new_tokens
    )


def tiny_questions(texts, images=("x", "y", "z"), groups=None):
    """Questions of the tiny vocabulary; a name stands for one random picture wherever it is."""
    from diysink.selection import QuestionBatch

    torch.manual_seed(1)
    names = list(dict.fromkeys(images))
    pixels = torch.randn(len(names), 3, 12, 12)
    return QuestionBatch(
        texts=tuple(texts),
        ids=tuple(str(number + 1) for number in range(len(texts))),
        groups=(None,) * len(texts) if groups is None else groups,
        images=tuple(images),
        pixel_values=pixels[[names.index(name) for name in images]],
    )
