"""Builds the miniature: trains its four parts from a seed and writes Hugging Face folders."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import CLIPImageProcessorPil

from diysink.artifact import write_text
from diysink.miniature.card import card
from diysink.miniature.encoder import MEAN, STD, train_encoder
from diysink.miniature.figures import encoder_figures, language_figures, sentence_figures
from diysink.miniature.language import train_language_model
from diysink.miniature.sentence import train_sentence_encoder
from diysink.miniature.tokens import train_tokenizer
from diysink.miniature.world import SIZE

logger = logging.getLogger(__name__)


def build_part(
    part: str, directory: Path, *, seed: int, parameters: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    """Trains one part, writes `<directory>/<part>/` and returns what was measured."""
    folder = directory / part
    folder.mkdir(parents=True, exist_ok=True)
    figures = _train(part, folder, seed, parameters)
    write_text(folder / "README.md", card(part, figures, seed, parameters[part]))
    logger.info("miniature: %s is built: %s", part, figures)
    return figures


def _train(
    part: str, folder: Path, seed: int, parameters: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    unseen = seed + 1_000_000  # for measuring, on what training never drew
    if part in ("encoder", "control", "conflict"):
        induced, shared = part != "control", part == "conflict"
        model = train_encoder(induced=induced, shared=shared, seed=seed, **parameters[part])
        model.save_pretrained(folder)
        image_processor().save_pretrained(folder)
        return encoder_figures(model, seed=unseen, images=parameters["figures"]["images"])
    tokenizer = train_tokenizer(seed=seed, **parameters["tokenizer"])
    if part == "language":
        language = train_language_model(tokenizer, seed=seed, **parameters[part])
        language.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return language_figures(
            language, tokenizer, seed=unseen, scenes=parameters["figures"]["scenes"]
        )
    sentence = train_sentence_encoder(tokenizer, seed=seed, **parameters[part])
    sentence.save_pretrained(folder)
    tokenizer.chat_template = None  # it embeds questions and holds no conversation
    tokenizer.padding_side = "right"
    tokenizer.save_pretrained(folder)
    return sentence_figures(sentence, tokenizer, seed=unseen)


def image_processor() -> CLIPImageProcessorPil:
    """Brings any picture to 48 x 48 pixels; the miniature's own it leaves as they are."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=[MEAN] * 3,
        image_std=[STD] * 3,
    )
