"""A stock model under analysis: what is shown is the model's own, and is what DIYSink shows."""

from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from diysink.analysis import ANALYSES, Context
from diysink.analysis.batch import Batch
from diysink.analysis.diysink_subject import DIYSinkSubject
from diysink.analysis.driver import measure_batch, possible
from diysink.analysis.labels import COLUMNS
from diysink.analysis.stock import StockSubject
from diysink.analysis.subject import Subject
from diysink.architectures import LVLMS, UnsupportedModelError
from diysink.architectures.hooks import eager_attention
from diysink.evaluation.lvlm import load_lvlm
from diysink.interventions import visual_norms
from diysink.model import AnswerGenerator, from_llava
from tests.evaluation import lvlms
from tests.interventions.tiny_lvlms import BUILDERS, Tiny, build
from tests.interventions.tiny_parts import BOTH_WAYS, IMAGE, OF_TOKENS, RECURRENT

NEW = 3
PER_TOKEN = ("input_ids", "attention_mask", *OF_TOKENS)
PER_IMAGE = ("image_sizes", "pixel_attention_mask", "image_grid_thw", "image_position_ids")
PER_IMAGE += ("spatial_shapes",)
UNSEEN = {"kimi_k25", *RECURRENT}  # latent attention, and layers that do not attend
built = cache(build)


@dataclass(frozen=True)
class Fixed:
    """A chat model with one prompt: the first sequence of a tiny batch, which has one image."""

    tiny: Tiny

    @property
    def model(self) -> Any:
        return self.tiny.model

    @property
    def processor(self) -> Any:
        return SimpleNamespace(tokenizer=self)

    @staticmethod
    def batch_decode(sequences, skip_special_tokens):
        return [" ".join(map(str, sequence.tolist())) for sequence in sequences]

    @property
    def generation(self) -> Any:
        return self.tiny.model.generation_config

    def inputs(self, images, texts):
        inputs = self.tiny.inputs
        true = inputs["attention_mask"][0].bool()
        one = {name: inputs[name][:1, true] for name in PER_TOKEN if name in inputs}
        one |= {name: inputs[name][:1] for name in PER_IMAGE if name in inputs}
        first = int(inputs["image_grid_thw"][0].prod()) if "image_grid_thw" in inputs else 1
        if "image_token_pooling" in inputs:  # an overview and a crop
            pooling = inputs["image_token_pooling"][: self.tiny.tokens[0]]
            one |= {"image_token_pooling": pooling, "image_grids": inputs["image_grids"][:1]}
            first = 2
        return one | {"pixel_values": inputs["pixel_values"][:first]}

    def fitting(self, images, texts, ids, tokens):
        return texts


@pytest.fixture(params=list(BUILDERS))
def chat(request) -> Fixed:
    return Fixed(built(request.param))


def subject_of(chat: Fixed) -> StockSubject:
    norms = torch.cat(visual_norms(chat.model, **chat.inputs([], [])))
    return StockSubject(chat, tau=float(norms.nanmedian()))


def test_layers_are_those_of_the_model_itself(chat):
    subject = subject_of(chat)
    assert isinstance(subject, Subject)
    if (reason := subject.lacks("language")) is not None:
        assert chat.tiny.name in UNSEEN
        assert "v_proj" in reason
        return
    encoded = subject.encode([lvlms.picture(0)])
    prompts = subject.prompts(encoded, ["a text"])
    layers, states = [], []
    subject.read_language(prompts, layers.append)
    subject.language_states(prompts, lambda number, seen: states.append(seen))
    inputs = chat.inputs([], [])
    with torch.no_grad():
        plain = chat.model(**inputs, output_hidden_states=True)
        with eager_attention(chat.model):
            eager = chat.model(**inputs, output_attentions=True)
    assert len(layers) == len(eager.attentions) == len(states) - 1
    for layer, attention in zip(layers, eager.attentions, strict=True):
        # Here the vision encoder attends eagerly, too.
        torch.testing.assert_close(layer.attention, attention, atol=5e-5, rtol=1e-5)
    for layer, own in zip(states[:-1], plain.hidden_states, strict=False):
        torch.testing.assert_close(layer, own, atol=1e-5, rtol=1e-5)
    norms = torch.cat(visual_norms(chat.model, **inputs))
    norms = norms[~norms.isnan()]
    torch.testing.assert_close(encoded.norms[0], norms)
    torch.testing.assert_close(encoded.states[0].norm(dim=-1), norms)
    assert torch.equal(prompts.sinks[0], norms >= subject.threshold.tau)
    assert 0 < prompts.sinks.sum() < len(norms)
    assert prompts.index.shape == (1, len(norms))
    assert (inputs["input_ids"][0, prompts.index[0]] == IMAGE).all()


def test_answers_are_read_after_the_prompt(chat):
    subject = subject_of(chat)
    if (reason := subject.lacks("language")) is not None:
        assert "v_proj" in reason
        return
    prompts = subject.prompts(subject.encode([lvlms.picture(0)]), ["a text"], max_new_tokens=NEW)
    layers = []
    subject.read_language(prompts, layers.append)
    inputs = chat.inputs([], [])
    with torch.no_grad():
        sequences = chat.model.generate(**inputs, max_new_tokens=NEW, do_sample=False)
    assert torch.equal(prompts.inputs["input_ids"], sequences)
    assert layers[0].attention.shape[-1] == sequences.shape[1] == prompts.length + NEW
    torch.testing.assert_close(prompts.generated.sum(1), torch.ones(1))
    assert prompts.generated[0, prompts.length - 1] > 0 == prompts.generated[0, -1]


def test_answers_to_other_features_are_other_answers(chat):
    subject = subject_of(chat)
    encoded = subject.encode([lvlms.picture(0)])
    features, sinks = subject.features(encoded)
    own = subject.answers(encoded, ["a text"], NEW)
    assert subject.answers(encoded, ["a text"], NEW, features) == own
    assert features.shape[:2] == sinks.shape == encoded.sinks.shape
    with torch.no_grad():
        sequences = chat.model.generate(**chat.inputs([], []), max_new_tokens=NEW, do_sample=False)
    assert own == chat.batch_decode(sequences[:, -NEW:], True)
    torch.manual_seed(0)
    drawn = [30 * torch.randn(features.shape) for _ in range(5)]
    assert any(subject.answers(encoded, ["a text"], NEW, other) != own for other in drawn)


def test_logits_under_a_mask_of_ones_own(chat):
    """Causal: the model's own logits; each token alone: the others mean nothing."""
    subject = subject_of(chat)
    encoded = subject.encode([lvlms.picture(0)])
    prompts = subject.prompts(encoded, ["a text"])
    length = prompts.mask.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()[None, None]
    with torch.no_grad():
        own = chat.model(**chat.inputs([], [])).logits.gather(
            1, prompts.index[..., None].expand(-1, -1, subject.inner.config.text_config.vocab_size)
        )
    shown = subject.visual_logits(prompts, causal)
    if chat.tiny.name not in BOTH_WAYS:
        order = own.argsort(-1)
        scale = (own / shown).nanmedian()  # Cohere's head has a factor
        torch.testing.assert_close(shown * scale, own, atol=1e-4, rtol=1e-3)
        assert torch.equal(shown.argsort(-1)[..., -1], order[..., -1])
    alone = torch.eye(length, dtype=torch.bool)[None, None]
    assert not torch.allclose(subject.visual_logits(prompts, alone), shown, atol=1e-3)
    assert "forward" not in vars(subject.inner.get_decoder())


def test_every_family_shows_vision_or_says_why_not(chat):
    subject = subject_of(chat)
    reason = subject.lacks("vision")
    assert (reason is None) == (chat.tiny.name in ("llava", "vipllava", "paligemma", "deepseek_vl",
                                                   "llava_pixtral"))  # fmt: skip
    if reason is not None:
        assert subject.kind in reason
        return
    layers, states = [], []
    encoded = subject.encode([lvlms.picture(0)])
    subject.read_vision(encoded, layers.append)
    subject.vision_states(encoded, lambda number, seen: states.append(seen))
    assert len(layers) == subject.layer == len(states) - 1
    tokens = encoded.prefix + encoded.grid[0] * encoded.grid[1]
    assert layers[0].attention.shape[-1] == states[0].shape[1] == tokens
    torch.testing.assert_close(layers[0].attention.sum(-1).mean(), torch.tensor(1.0))
    own = encoded.states.shape[-1] // states[0].shape[-1]  # ViP-LLaVA joins two layers
    last = encoded.states.chunk(own, -1)[0]
    torch.testing.assert_close(states[-1][:, encoded.prefix :], last)


def test_every_family_with_a_grid_has_an_untrained_encoder(chat):
    subject = subject_of(chat)
    if subject.lacks("grid") is not None:
        return
    encoded = subject.encode([lvlms.picture(0)])
    own, seen, again = [], [], []
    subject.vision_states(encoded, lambda number, states: own.append(states.clone()))
    control = subject.untrained(encoded, lambda number, states: seen.append(states.clone()), 0)
    subject.untrained(encoded, lambda number, states: again.append(states.clone()), 0)
    assert [one.shape for one in seen] == [one.shape for one in own]
    assert all(torch.equal(a, b) for a, b in zip(seen, again, strict=True))
    assert not any(
        torch.allclose(a, b, rtol=1e-2, atol=0) for a, b in zip(seen[1:], own[1:], strict=True)
    )
    assert torch.equal(control.sinks, encoded.sinks)
    assert not torch.allclose(control.states, encoded.states, rtol=1e-2, atol=0)
    assert getattr(subject.inner, subject.family.tower) is subject.tower

    def language(images):
        states = []
        prompts = subject.prompts(images, [""])
        subject.language_states(prompts, lambda number, one: states.append(one))
        return prompts.visual_states(states[-1])

    assert not torch.allclose(language(control), language(encoded), rtol=1e-2, atol=0)


def test_every_family_is_tried():
    assert set(LVLMS) <= {*BUILDERS, "diysink"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A stock LLaVA, and the same weights adopted as DIYSink."""
    folder = lvlms.llava(tmp_path_factory.mktemp("llava"))
    lvlm = load_lvlm(folder, dtype=torch.float32, max_new_tokens=NEW)
    images = [record.images[0] for record in lvlms.questions(1)]
    tau = float(torch.cat(lvlm.norms(images)).quantile(0.8))
    made = from_llava(folder, None, connector="single", arrangement="natural")
    made.model.config.tau = tau
    made.model.generation_config = lvlm.generation
    adopted = AnswerGenerator(made.model, made.chat_encoder, made.image_processor)
    return StockSubject(lvlm, tau=tau), DIYSinkSubject(adopted)


def batches(pair, **options):
    records = lvlms.questions(1)[:6]
    return [Batch(subject, records, **options) for subject in pair]


def test_prompts_of_a_stock_llava_are_those_of_diysink(pair):
    stock, ours = batches(pair, max_new_tokens=NEW)
    for name in ("states", "norms", "sinks"):
        assert torch.equal(getattr(stock.encoded, name), getattr(ours.encoded, name)), name
    assert stock.encoded.grid == ours.encoded.grid == (4, 4)
    assert stock.encoded.prefix == ours.encoded.prefix == 1
    for name in ("mask", "visual", "index", "sinks", "length", "generated"):
        mine, other = getattr(stock.prompts, name), getattr(ours.prompts, name)
        assert torch.equal(torch.as_tensor(mine), torch.as_tensor(other)), name
    assert 0 < stock.sinks.sum() < stock.sinks.numel() / 2


def rows(name, batch):
    boxes = {"scene": [None] * 4, "shape": [0.0, 0.0, 0.5, 0.5]}
    scopes = {"scene": "global", "shape": "local"}
    labels = pd.DataFrame(
        [
            (image, attribute, scopes[attribute], "ab"[number % 2], *box)
            for number, image in enumerate(batch.images)
            for attribute, box in boxes.items()
        ],
        columns=list(COLUMNS),
    )
    kind = ANALYSES[name]
    analysis = kind(kind.settings_class(), Context(labels=labels))
    return measure_batch({name: analysis}, batch)[name]


ON_ANY = [name for name, kind in ANALYSES.items() if kind.unit and "diysink" not in kind.needs]


@pytest.mark.parametrize("name", ON_ANY)
def test_a_stock_llava_has_the_rows_of_the_same_weights_as_diysink(pair, name):
    stock, ours = (rows(name, batch) for batch in batches(pair, max_new_tokens=NEW))
    pd.testing.assert_frame_equal(stock, ours)
    assert len(stock)


def test_what_a_model_lacks_is_said_before_anything_runs():
    subject = subject_of(Fixed(built("qwen2_5_vl")))
    analyses = {"criteria": ANALYSES["criteria"](ANALYSES["criteria"].settings_class(), Context())}
    chosen, reasons = possible(analyses, subject)
    assert not chosen
    assert "attention weights" in reasons["criteria"]
    assert "DIYSink" in str(subject.lacks("diysink"))


def test_images_of_different_sizes_go_one_by_one(tmp_path):
    lvlm = load_lvlm(lvlms.llava_next(tmp_path), dtype=torch.float32)
    subject = StockSubject(lvlm, tau=1.0)
    images = [lvlms.picture(number) for number in (0, 1)]
    with pytest.raises(UnsupportedModelError, match="batch_size to 1"):
        subject.encode(images)
    assert subject.encode(images[:1]).norms.shape != subject.encode(images[1:]).norms.shape
