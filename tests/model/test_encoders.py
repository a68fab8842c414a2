"""A model with any vision encoder sees what the encoder alone sees, also once it is saved."""

import pytest
import torch
from PIL import Image
from transformers import AutoModelForCausalLM

from diysink.encoders import Encoder, load_encoder, load_image_processor
from diysink.model import DIYSinkForConditionalGeneration, Parts, assemble
from tests.encoders.towers import MAKERS
from tests.tiny_models import LANGUAGES


@pytest.fixture(scope="module")
def language(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("language")
    AutoModelForCausalLM.from_config(LANGUAGES["llama"]()).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@torch.no_grad()
@pytest.mark.parametrize("family", MAKERS)
def test_states_of_the_model_are_those_of_its_encoder(family, towers, language, tmp_path):
    parts = Parts(encoder=str(towers[family]), language=str(language))
    model = assemble(parts, None, connector="single").model.train()
    pixels = load_image_processor(towers[family])([Image.new("RGB", (40, 30), "red")])
    encoder = load_encoder(towers[family])
    states = model.model.visual_states(pixels)  # in training, too
    assert torch.equal(states, encoder(pixels))
    assert Encoder.of(model.model.vision_tower).identity.digest == encoder.identity.digest
    model.save_pretrained(tmp_path)
    saved = DIYSinkForConditionalGeneration.from_pretrained(tmp_path)
    assert torch.equal(saved.model.visual_states(pixels), states)
