"""The miniature as a stock LLaVA and as DIYSink, and questions: what `lmms_eval_run` asks.

One MLP is trained for a few steps between the shipped encoder and language model. Both folders hold
the same weights.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

from diysink.evaluation.lvlm import load_lvlm
from diysink.evaluation.lvlm_sinks import measure_sinks
from diysink.miniature import weights
from diysink.miniature.llava import write_split
from diysink.model import Assembled, Parts, assemble, from_llava
from diysink.records import ImageFile, Record, Turn
from diysink.sinks import CalibrationSettings
from diysink.training import ConnectorTraining, EncodedRecords, FitSettings, RecordsDataModule, fit

STEPS, IMAGES, ASKED = 200, 400, 40


@dataclass(frozen=True)
class Miniature:
    """Folders of both models, the sink profile's file, and its tau."""

    llava: Path
    diysink: Path
    profile: Path
    tau: float


def build(folder: Path) -> tuple[Miniature, list[Record]]:
    """Both models and the questions, some of them about two images."""
    folder.mkdir()
    trained = train(records_of(folder, "train", IMAGES), folder)
    asked = records_of(folder, "questions", ASKED)
    made = Miniature(folder / "llava", folder / "diysink", folder / "profile.json", 0.0)
    write_llava(trained, made.llava)
    lvlm = load_lvlm(made.llava, dtype=torch.float32)
    _, profile = measure_sinks(
        lvlm, asked, tau=None, images=ASKED, calibration=CalibrationSettings(),
        bootstrap={"replicates": 100, "seed": 0}, batch=8,
    )  # fmt: skip
    profile.save(made.profile)
    from_llava(made.llava, profile, arrangement="natural").save(made.diysink)
    both = [
        Record(
            f"both-{number}",
            (one.images[0], other.images[0]),
            (Turn("human", f"<image>\n<image>\n{text(other)}"), one.conversations[1]),
        )
        for number, (one, other) in enumerate(zip(asked[:24:3], asked[3:27:3], strict=True))
    ]
    return Miniature(made.llava, made.diysink, made.profile, float(profile.tau)), asked + both


def text(record: Record) -> str:
    return record.conversations[0].text.removeprefix("<image>\n")


def records_of(folder: Path, kind: str, images: int) -> list[Record]:
    """A split of the miniature as records."""
    path = write_split(folder, kind, kind=kind, images=images, seed=0)
    return [
        Record(
            item["id"],
            (ImageFile.of((folder / "images" / item["image"]).read_bytes()),),
            tuple(Turn(turn["from"], turn["value"]) for turn in item["conversations"]),
            item.get("group"),
            item.get("subtask"),
        )
        for item in json.loads(path.read_text())
    ]


def train(records: list[Record], folder: Path) -> Assembled:
    """One MLP, for a few steps."""
    parts = Parts(str(weights.path("encoder")), str(weights.path("language")))
    assembled = assemble(parts, None, connector="single")
    training = ConnectorTraining(
        assembled.model, learning_rate=5e-3, max_steps=STEPS, warmup_ratio=0.05, betas=(0.9, 0.98)
    )
    data = EncodedRecords(records, assembled.chat_encoder, assembled.image_processor, IMAGES)
    batches = RecordsDataModule(data, batch_size=16, num_batches=STEPS, seed=0)
    settings = FitSettings(accelerator="cpu", enable_progress_bar=False)
    fit(training, batches, settings, folder / "checkpoints")
    assembled.model.eval()
    return assembled


def write_llava(ours: Assembled, folder: Path) -> None:
    """The same weights as a checkpoint of LLaVA, with its processor."""
    config, model = ours.model.config, ours.model
    strategy = config.vision_feature_select_strategy
    stock = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=config.vision_config,
            text_config=config.text_config,
            image_token_index=config.image_token_id,
            image_seq_length=config.image_seq_length,
            vision_feature_layer=config.vision_feature_layer,
            vision_feature_select_strategy=strategy,
            tie_word_embeddings=config.tie_word_embeddings,
        )
    )
    for part in ("vision_tower", "multi_modal_projector", "language_model"):
        getattr(stock.model, part).load_state_dict(getattr(model.model, part).state_dict())
    stock.lm_head.load_state_dict(model.lm_head.state_dict())
    stock.generation_config = model.generation_config
    stock.save_pretrained(folder)
    tokenizer = ours.processor.tokenizer
    LlavaProcessor(
        ours.processor.image_processor,
        tokenizer,
        patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    ).save_pretrained(folder)
