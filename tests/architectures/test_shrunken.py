"""A tiny configuration: the same classes, small widths, as many layers as asked for."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from diysink.architectures.shrunken import PATCH, SIDE, shrunken
from tests.pipelines.test_conf import PRESETS, parameters

SPECIAL = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1, "image_token_id": 59}
SPECIAL |= {"image_token_index": 59, "image_patch_id": 59}
LVLMS = [env for env in PRESETS if "lvlm" in parameters(env).get("architecture", {})]


def tiny(env, part, depth):
    config = AutoConfig.for_model(**parameters(env)["architecture"][part])
    return config, shrunken(config, vocabulary=60, special=SPECIAL, depth=depth)


@pytest.mark.parametrize("env", LVLMS)
def test_a_vision_language_model_keeps_its_classes_and_its_encoder_s_depth(env):
    config, small = tiny(env, "lvlm", 5)
    assert type(small) is type(config)
    assert type(small.text_config) is type(config.text_config)
    assert type(small.vision_config) is type(config.vision_config)
    assert small.text_config.num_hidden_layers == 5
    kinds = getattr(config.text_config, "layer_types", None)
    assert getattr(small.text_config, "layer_types", None) == (kinds and kinds[:5])
    depths = [getattr(one.vision_config, "depth", None) for one in (config, small)]
    assert depths[0] == depths[1]
    assert config.text_config.num_hidden_layers > 5  # the one that is given stays as it is
    model = AutoModelForImageTextToText.from_config(small)
    assert sum(weight.numel() for weight in model.parameters()) < 200_000


@pytest.mark.parametrize("env", ["llava-1.5-7b", "tinyllava-3.1b", "tinyllava-0.5b"])
def test_a_language_model_runs(env):
    _, small = tiny(env, "language", 3)
    model = AutoModelForCausalLM.from_config(small)
    with torch.no_grad():
        logits = model(torch.tensor([[2, 3, 4]])).logits
    assert logits.shape == (1, 3, 60)
    assert len(model.model.layers) == 3


def test_a_vision_encoder_has_four_by_four_patches_and_no_more_layers_than_there_are():
    config, small = tiny("llava-1.5-7b", "encoder", 100)
    assert (small.image_size, small.patch_size) == (SIDE, PATCH) == (16, 4)
    assert small.num_hidden_layers == config.num_hidden_layers == 24
