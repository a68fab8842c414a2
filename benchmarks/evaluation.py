"""What does evaluating cost beyond the model itself?

A LLaVA of random weights answers questions through the benchmarks' own path: images are decoded and
preprocessed, prompts are made, answers are judged and kept in parts. Of the processor time of all
that, the share that is not spent inside `generate` is the overhead. One CPU thread; generating
under the reference (its likelihood) is counted apart, because it is the model too. By arithmetic,
the same at 7B shapes: preprocessing an image is a few operations a pixel and channel, the model two
a parameter and token. `python -m benchmarks.evaluation [--items N] [--out FILE]`.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from benchmarks.extraction import record
from diysink.artifact import digest_bytes
from diysink.evaluation.benchmarks import Benchmark
from diysink.evaluation.lvlm import LVLM
from diysink.evaluation.parts import answer_in_parts
from diysink.evaluation.predict import predict
from diysink.records import ImageFile, Record, Turn

SIDE, PATCH, NEW = 336, 14, 8
VISION = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
          "num_attention_heads": 12, "image_size": SIDE, "patch_size": PATCH}  # fmt: skip
TEXT = {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 16,
        "num_attention_heads": 16, "vocab_size": 4096}  # fmt: skip
TEMPLATE = (
    "{% for m in messages %}{% for part in m.content %}{% if part.type == 'image' %}<image>"
    "{% else %}{{ part.text }} {% endif %}{% endfor %}{% endfor %}"
)
WORDS = ["<pad>", "</s>", "<unk>", "<image>", *(f"w{number}" for number in range(200))]


def built() -> LVLM:
    """A LLaVA of random weights, CLIP ViT-B and a language model of sixteen layers."""
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION), text_config=LlamaConfig(**TEXT),
        image_token_id=WORDS.index("<image>"),
    )  # fmt: skip
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )  # fmt: skip
    size = {"height": SIDE, "width": SIDE}
    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=size)
    processor = LlavaProcessor(
        images, tokenizer, patch_size=PATCH, vision_feature_select_strategy="default",
        chat_template=TEMPLATE, num_additional_image_tokens=1,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config).eval()
    model.generation_config.eos_token_id = None  # answers of full length
    return LVLM(model, processor, max_new_tokens=NEW)


def questions(number: int, *, words: int = 20, answer: str = "w3") -> list[Record]:
    """A question of so many words about each of some photographs' sizes, as JPEG."""
    rng = np.random.default_rng(0)
    records = []
    for each in range(number):
        with tempfile.SpooledTemporaryFile() as file:
            pixels = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((640, 480)).save(file, "JPEG")
            file.seek(0)
            data = file.read()
        text = " ".join(f"w{word}" for word in rng.integers(0, 200, words))
        turns = (Turn("human", f"<image>\n{text}"), Turn("gpt", answer))
        image = ImageFile(data, digest_bytes(data), "JPEG", 640, 480)
        records.append(Record(f"q{each}", (image,), turns))
    return records


class Timed:
    """Adds up the processor time of every `generate`: answers, and likelihoods apart."""

    def __init__(self, model: Any) -> None:
        self.answers = self.likelihoods = 0.0
        self._generate = model.generate
        model.generate = self

    def __call__(self, **arguments: Any) -> Any:
        start = time.process_time()
        output = self._generate(**arguments)
        seconds = time.process_time() - start
        if "logits_processor" in arguments:
            self.likelihoods += seconds
        else:
            self.answers += seconds
        return output


def flops_at_7b() -> dict[str, float]:
    """Operations of one answer at LLaVA-1.5-7B's shapes, and of its image's preprocessing."""
    vision, language = 2 * 0.303e9 * 577, 2 * 6.74e9 * (576 + 60 + NEW)
    pixels = 640 * 480 * 3 * 20 + SIDE * SIDE * 3 * 60  # decoding; bicubic resizing, normalising
    return {"model": vision + language, "preprocessing": float(pixels)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--out", type=Path, help="add the result to this JSON file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    lvlm, items = built(), questions(args.items)
    lvlm.answer(items[: args.batch])  # warm
    timed = Timed(lvlm.model)
    benchmark = Benchmark("bench", metric="contains")

    def answer(part: Any) -> Any:
        return predict(lvlm, part, benchmark=benchmark, variant="stock", batch=args.batch)

    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        answer_in_parts(Path(folder), items, answer, size=2 * args.batch)
        whole = time.process_time() - start
    model = timed.answers + timed.likelihoods
    at_7b = flops_at_7b()
    result = {
        "items": args.items,
        "seconds_per_item": whole / args.items,
        "overhead": (whole - model) / timed.answers,
        "likelihood": timed.likelihoods / timed.answers,
        "overhead_7b_by_flops": at_7b["preprocessing"] / at_7b["model"],
    }
    record(result, "medium", cuda=False, out=args.out)


if __name__ == "__main__":
    main()
