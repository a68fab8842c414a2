"""Tiny vision-language models as folders with their processors, and records to ask them about."""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2VLImageProcessorPil,
)

from diysink.artifact import digest_bytes, write_manifest
from diysink.evaluation.lvlm import LVLM
from diysink.records import ImageFile, Record, Turn, write_shards
from tests.interventions.tiny_packed import qwen2_5_vl
from tests.interventions.tiny_parts import TEXT, VISION, clip, make, spread

SPECIAL = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
SPECIAL += [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
WORDS = ["<pad>", "</s>", "<unk>", *SPECIAL, "USER:", "ASSISTANT:", *"abcdefgh"]
IMAGE = WORDS.index("<image>")
TEMPLATE = (
    "{% for m in messages %}USER: {% for c in m.content %}"
    "{% if c.type == 'image' %}<image> {% else %}{{ c.text }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)
LANGUAGE = TEXT | {"model_type": "llama", "vocab_size": len(WORDS), "eos_token_id": 1}
SIXTEEN = {"height": 16, "width": 16}


def tokenizer(numbers=None):
    """A tokenizer of whole words, numbered as in `WORDS` or as told."""
    numbers = numbers or {word: number for number, word in enumerate(WORDS)}
    words = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=SPECIAL,
    )


def saved(folder: Path, model, processor) -> Path:
    spread(model.model.get_decoder())
    # A random model may well say "<image>", which stands for a picture that is not there.
    model.generation_config.update(
        suppress_tokens=[WORDS.index(word) for word in ("</s>", *SPECIAL)],
        do_sample=True,
        temperature=0.7,
        top_k=5,
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def llava(folder: Path, plant=None, template: str | None = TEMPLATE) -> Path:
    """A LLaVA; ``plant(tower)`` may change its vision encoder."""
    torch.manual_seed(0)
    special = {"image_token_id": IMAGE, "pad_token_id": 0}
    model = make("llava", vision_config=clip(), text_config=LANGUAGE, **special)
    if plant is not None:
        plant(model.model.vision_tower)
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size=SIXTEEN, do_center_crop=False),
        tokenizer(),
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )
    return saved(folder, model, processor)


def llava_next(folder: Path) -> Path:
    """Tiles: pictures of different shapes have different numbers of tokens."""
    torch.manual_seed(0)
    pinpoints = [[16, 32], [32, 16], [16, 16], [32, 32]]
    model = make(
        "llava_next",
        vision_config=clip(),
        text_config=LANGUAGE,
        image_grid_pinpoints=pinpoints,
        image_token_id=IMAGE,
        pad_token_id=0,
    )
    processor = LlavaNextProcessor(
        LlavaNextImageProcessorPil(
            size={"shortest_edge": 16}, crop_size=SIXTEEN, image_grid_pinpoints=pinpoints
        ),
        tokenizer(),
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    return saved(folder, model, processor)


def idefics3(folder: Path) -> Path:
    """Tiles that are pictures of their own, with text between them."""
    torch.manual_seed(0)
    model = make(
        "idefics3",
        vision_config=VISION | {"model_type": "idefics3_vision"},
        text_config=LANGUAGE,
        scale_factor=2,
        image_token_id=IMAGE,
        pad_token_id=0,
    )
    processor = Idefics3Processor(
        Idefics3ImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 16}),
        tokenizer(),
        image_seq_len=4,
        chat_template=TEMPLATE,
    )
    return saved(folder, model, processor)


class ImagesOnly(ProcessorMixin):
    """Qwen's processor without the part for videos, which needs torchvision."""

    return_mm_token_type_ids = True
    image_token = "<image>"
    image_token_id = 60

    def __init__(self, image_processor, tokenizer, chat_template=None):
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def replace_image_token(self, image_inputs, image_idx, **_):
        return self.image_token * int(image_inputs["image_grid_thw"][image_idx].prod() // 4)


def qwen() -> LVLM:
    """Qwen2.5-VL, whose positions are coordinates; its answers have three tokens."""
    torch.manual_seed(0)
    model = qwen2_5_vl()[0].eval()
    spread(model)
    words = [WORDS.index(word) for word in "abcdefgh"]
    model.generation_config.update(
        suppress_tokens=[token for token in range(64) if token not in words], eos_token_id=None
    )
    images = Qwen2VLImageProcessorPil(
        patch_size=4, temporal_patch_size=2, merge_size=2, min_pixels=64, max_pixels=1024
    )
    numbers = {word: number for number, word in enumerate(WORDS)} | {"<image>": 60}
    processor = ImagesOnly(images, tokenizer(numbers), chat_template=TEMPLATE)
    return LVLM(model, processor, max_new_tokens=3)


def steep(tower) -> None:
    """A few patches, where the picture decides, get a vector of norm 50 in the block before last.

    Two neurons see one direction of what comes in, from a value that few patches reach; their
    difference is 0 below it and a constant above it: two populations of norms, and nothing between.
    """
    block = tower.encoder.layers[1]
    size = tower.config.hidden_size
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(size, generator=generator)
    seen = []
    hook = block.layer_norm2.register_forward_hook(lambda _, __, out: seen.append(out))
    with torch.no_grad():
        tower(CLIPImageProcessorPil(size=SIXTEEN, do_center_crop=False)(
            [picture(i).open() for i in range(PICTURES)], return_tensors="pt"
        )["pixel_values"])  # fmt: skip
        hook.remove()
        level = (seen[0][:, 1:] @ direction).quantile(0.9)
        slope = 1e4
        for neuron, offset in ((0, 0.0), (1, 10.0)):
            block.mlp.fc1.weight[neuron] = slope * direction
            block.mlp.fc1.bias[neuron] = -slope * level - offset
        block.mlp.fc2.weight[:, 0] = 50 / 10 / size**0.5
        block.mlp.fc2.weight[:, 1] = -50 / 10 / size**0.5


PICTURES = 24


def picture(number: int) -> ImageFile:
    """A small picture of noise; every third is wide, every fifth tall."""
    generator = np.random.default_rng(number)
    height, width = (16, 32) if number % 3 == 0 else (32, 16) if number % 5 == 0 else (16, 16)
    values = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    data = file.getvalue()
    return ImageFile(data, digest_bytes(data), "PNG", width, height)


def questions(per_picture: int = 2) -> list[Record]:
    """Questions about each picture; groups and subtasks in turns."""
    records = []
    for number in range(PICTURES):
        for which in range(per_picture):
            words = "abcdefgh"[(number + which) % 8], "abcdefgh"[(3 * number + which) % 8]
            turns = (Turn("human", f"<image>\n{words[0]}"), Turn("gpt", words[1]))
            group = ("global", "local")[which % 2]
            records.append(
                Record(f"q{number}-{which}", (picture(number),), turns, group, f"{group}-task")
            )
    return records


def splits(folder: Path) -> Path:
    """The questions as the split ``test`` of published records."""
    write_shards(folder / "test", questions())
    write_manifest(folder, kind="splits", splits={"test": {"records": PICTURES * 2}})
    return folder
