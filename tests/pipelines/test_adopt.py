"""A stock LLaVA in the place of trained models: the same model, and the same tables."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

from diysink.analysis import ANALYSES, Context
from diysink.analysis.attention import AttentionSettings
from diysink.analysis.diysink_subject import DIYSinkSubject
from diysink.analysis.run import analyze
from diysink.artifact import read_manifest, write_manifest
from diysink.encoders import Encoder, load_vision_tower
from diysink.miniature.card import is_induced
from diysink.model import load
from diysink.records import Records, Turn, write_shards
from diysink.resampling import Bootstrap
from diysink.sinks import SinkProfile
from pipelines.adopt.nodes import adopt_checkpoint
from pipelines.pipeline_registry import register_pipelines
from tests.pipelines.test_conf import changed, parameters, settings_of
from tests.tiny_models import assemble_tiny

TAU = 3.5
BASE = settings_of("base")
MODEL = changed(BASE["model"], profile="checkpoint")
STAGES = ("prepare", "sinks", "adopt", "reweight", "evaluate", "analyze", "claims", "report")
ASKED = {"attention": AttentionSettings(max_samples=10, bins=4, points=4)}
pytestmark = pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)


@pytest.fixture
def ours(parts, tmp_path):
    """A model of this project with one MLP, as ``finetune`` leaves it."""
    made = assemble_tiny(parts, connector="single", arrangement="natural")
    made.model.config.tau = TAU
    made.save(tmp_path / "models" / "single" / "seed0")
    write_manifest(tmp_path / "models", kind="models")
    return made


@pytest.fixture
def checkpoint(ours, tmp_path):
    """The same weights as a stock LLaVA."""
    config = ours.model.config
    stock = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=config.vision_config,
            text_config=config.text_config,
            image_token_index=config.image_token_index,
            image_seq_length=config.image_seq_length,
        )
    )
    stock.load_state_dict(ours.model.state_dict())
    stock.save_pretrained(tmp_path / "stock")
    tokenizer = ours.processor.tokenizer
    LlavaProcessor(
        ours.processor.image_processor,
        tokenizer,
        patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    ).save_pretrained(tmp_path / "stock")
    return tmp_path / "stock"


def profiles(folder, checkpoint, found=True):
    """Sinks of the encoder inside the checkpoint."""
    encoder = Encoder.of(load_vision_tower(checkpoint), -2)
    profile = SinkProfile(
        encoder.identity, TAU, "fixed", None, found, (), (), (1.0, 9.0),
        (1,), (0, 1), (3, 3), {},
    )  # fmt: skip
    (folder / "checkpoint").mkdir(parents=True)
    profile.save(folder / "checkpoint" / "profile.json")
    write_manifest(folder, kind="profiles")
    return folder


def adopt(checkpoint, tmp_path, seeds=(0,), found=True, **changes):
    asked = changed(BASE["adopt"], path=checkpoint and str(checkpoint), **changes)
    known = profiles(tmp_path / "profiles", checkpoint, found) if checkpoint else tmp_path
    return adopt_checkpoint(known, MODEL, asked, list(seeds), str(tmp_path / "work"))


def test_an_adopted_checkpoint_is_the_checkpoint_and_knows_its_sinks(checkpoint, ours, tmp_path):
    both = {"single": "natural", "dual": "front"}
    connectors, _, models, curves, _ = adopt(checkpoint, tmp_path, connectors=both)
    assert read_manifest(models)["kind"] == "models"
    assert read_manifest(connectors)["files"] == {}
    assert curves.empty
    single, dual = (load(models / kind / "seed0").model for kind in both)
    weights = ours.model.state_dict()
    assert single.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in single.state_dict().items())
    assert (single.config.tau, single.config.arrangement) == (TAU, "natural")
    assert (dual.config.connector, dual.config.arrangement) == ("dual", "front")


def test_the_dtype_is_the_checkpoint_s_or_the_one_that_is_asked_for(checkpoint, tmp_path):
    for name, dtype in (("auto", torch.float32), ("bfloat16", torch.bfloat16)):
        models = adopt(checkpoint, tmp_path / name, dtype=name)[2]
        config = LlavaConfig.from_pretrained(models / "single" / "seed0")
        assert config.dtype == dtype


def test_a_card_that_speaks_of_something_induced_makes_no_sinks_induced(tmp_path, parts):
    (tmp_path / "README.md").write_text("Hallucination induced by language priors.")
    assert not is_induced(str(tmp_path))
    shipped = parameters("base")["model"]["encoder"]
    assert is_induced(shipped)
    assert not is_induced(str(Path(shipped).parent / "control"))


def test_analyses_of_an_adopted_checkpoint_are_those_of_the_same_model_trained_here(
    checkpoint, tiny_records, tmp_path
):
    asked_once = [
        dataclasses.replace(record, conversations=(Turn("human", "<image>\na b"), Turn("gpt", "c")))
        for record in tiny_records
    ]
    write_shards(tmp_path / "records", asked_once)
    records = Records(tmp_path / "records")
    context = Context(Bootstrap(30, 0.9, 0))
    chosen = {name: ANALYSES[name](settings, context) for name, settings in ASKED.items()}
    adopted = adopt(checkpoint, tmp_path)[2] / "single/seed0"
    both = [
        analyze(DIYSinkSubject(load(folder)), records, chosen)[0]
        for folder in (tmp_path / "models/single/seed0", adopted)
    ]
    for name, table in both[0].items():
        assert not table.empty
        pd.testing.assert_frame_equal(table, both[1][name])
    assert both[0].keys() == ASKED.keys()


def test_the_preset_asks_for_data_of_one_s_own(parts):
    """A real checkpoint must not be judged on the miniature's pictures unnoticed."""
    values = parameters("checkpoint")
    assert set(values["prepare"]["splits"]) == {"train", "test"}
    assert values["sinks"]["encoders"]["checkpoint"]["path"] == values["adopt"]["path"]


def test_what_cannot_be_adopted_is_refused(checkpoint, tmp_path):
    with pytest.raises(ValueError, match=r"adopt\.path is null; name a LLaVA checkpoint"):
        adopt(None, tmp_path)
    with pytest.raises(ValueError, match="a checkpoint is one training"):
        adopt(checkpoint, tmp_path / "seeds", seeds=(0, 1))
    with pytest.raises(ValueError, match="found no credible sinks"):
        adopt(checkpoint, tmp_path / "none", found=False)


def test_the_stages_of_a_checkpoint_need_nothing_that_they_do_not_make(parts):
    """What stays free is parameters, and what the report and the claims can do without."""
    named = register_pipelines()
    whole = sum((named[name] for name in STAGES[1:]), named["prepare"])
    free = {name for name in whole.inputs() if not name.startswith("params:")}
    on_request = {"dose_response", "tuning_results", "tuning_trials"}
    assert free == {"benchmark_results", "registration", "timings", "runs"} | on_request
