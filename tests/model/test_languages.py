"""Any causal language model with one linear head can be trained and asked, whatever its names."""

import shutil

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from diysink.architectures import UnsupportedModelError, embedding_name
from diysink.model import IGNORE, load
from diysink.records import Turn
from diysink.sinks import token_norms
from diysink.training import LanguageTraining
from tests.model.languages import LANGUAGES, REFUSED
from tests.tiny_models import assemble_tiny

TRAINED = sorted(LANGUAGES.keys() - REFUSED)
LIKE_GPT2 = ["gpt2", "gpt_neox", "opt", "falcon"]


@pytest.fixture(scope="module", autouse=True)
def quiet():
    """The tiny configurations' special tokens are beyond their vocabulary in places."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    yield
    transformers.logging.set_verbosity(before)


@pytest.fixture(scope="module")
def made(parts, tokenizer, tmp_path_factory):
    """Makes a composite with a language model of some kind; and the stock language model."""
    if "clip-llama" not in parts.name:
        pytest.skip("the pair's own language model is not used")
    kept = {}

    def make(kind):
        if kind not in kept:
            root = tmp_path_factory.mktemp(kind)
            shutil.copytree(parts / "encoder", root / "encoder")
            torch.manual_seed(0)
            stock = AutoModelForCausalLM.from_config(LANGUAGES[kind]()).eval()
            stock.save_pretrained(root / "language")
            tokenizer.save_pretrained(root / "language")
            kept[kind] = root, stock
        root, stock = kept[kind]
        model = assemble_tiny(root, connector="dual")
        torch.manual_seed(0)
        norms = token_norms(model.model.model.visual_states(torch.randn(2, 3, 12, 12)).detach())
        model.model.config.tau = float(norms.quantile(0.7))
        return model, stock

    return make


def batch(chat_encoder):
    """Two dialogues of different lengths, with their images."""
    torch.manual_seed(1)
    encoded = [
        chat_encoder.dialogue([Turn("human", "<image> a"), Turn("gpt", said)])
        for said in ("b", "b c d")
    ]
    ids, mask = chat_encoder.pad([each.input_ids for each in encoded], side="right")
    labels, _ = chat_encoder.pad([each.labels for each in encoded], side="right", value=IGNORE)
    return {
        "input_ids": ids, "attention_mask": mask, "labels": labels,
        "pixel_values": torch.randn(2, 3, 12, 12),
    }  # fmt: skip


@pytest.mark.parametrize("kind", TRAINED)
def test_it_learns_and_answers(made, kind):
    model, stock = made(kind)
    composite, given = model.model, batch(model.chat_encoder)
    # Text alone is the stock model's.
    ids = given["input_ids"][:, 9 + 1 :]
    text = torch.where(ids == 3, 6, ids)
    with torch.no_grad():
        assert torch.equal(composite.eval()(input_ids=text).logits, stock(input_ids=text).logits)
    # A step of stage 2 reaches the connector and the first embeddings.
    training = LanguageTraining(composite, learning_rate=1e-3, max_steps=1)
    training.loss(given).backward()
    learnt = [*composite.model.multi_modal_projector.parameters()]
    learnt += composite.get_input_embeddings().parameters()
    assert all(parameter.grad.abs().sum() > 0 for parameter in learnt)
    # Answers: cached as uncached, beside a longer one as alone.
    composite.eval()
    composite.generation_config.eos_token_id = None
    rows = [model.chat_encoder.question(f"<image> {asked}") for asked in ("a", "a b c d")]
    prompts, mask = model.chat_encoder.pad(rows, side="left")
    options = {"max_new_tokens": 3, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    pixels = given["pixel_values"]
    cached, uncached = (
        composite.generate(prompts, pixels, mask, "sink", use_cache=use, **options)
        for use in (True, False)
    )
    assert torch.equal(cached, uncached)
    alone = composite.generate(rows[0][None], pixels[:1], selection="sink", **options)
    assert torch.equal(cached[0, -3:], alone[0, -3:])


@pytest.mark.parametrize("kind", LIKE_GPT2)
def test_names_like_gpt2s_are_saved_loaded_and_tied(made, kind, tmp_path):
    model, stock = made(kind)
    composite = model.model
    model.save(tmp_path)
    loaded = load(tmp_path).model
    assert loaded.state_dict().keys() == composite.state_dict().keys()
    ids = torch.tensor([[4, 6, 7, 5]])
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=ids).logits, composite.eval()(input_ids=ids).logits)
    for each in (composite, loaded):
        tied = each.lm_head.weight is each.get_input_embeddings().weight
        assert tied == stock.config.tie_word_embeddings


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_what_cannot_be_trained_is_refused_with_the_reason(made, kind):
    with pytest.raises(UnsupportedModelError, match=REFUSED[kind]):
        made(kind)


@pytest.mark.parametrize(
    ("kind", "name"), [("llama", "embed_tokens"), ("gpt2", "wte"), ("gpt_neox", "embed_in"),
                       ("opt", "decoder.embed_tokens")]
)  # fmt: skip
def test_the_embeddings_are_found_without_drawing_a_random_number(kind, name):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert embedding_name(LANGUAGES[kind]()) == name
    assert torch.equal(torch.get_rng_state(), before)


def test_a_vocabulary_without_the_placeholder_grows(parts, tokenizer, tmp_path):
    """GPT-2's own tokenizer has no <image>."""
    config = LANGUAGES["gpt2"]()
    config.vocab_size = 13  # one less than the tokenizer's words
    root = tmp_path / "small"
    AutoModelForCausalLM.from_config(config).save_pretrained(root / "language")
    tokenizer.save_pretrained(root / "language")
    shutil.copytree(parts / "encoder", root / "encoder")
    model = assemble_tiny(root, connector="dual")
    assert model.model.get_input_embeddings().weight.shape[0] == 14
    assert model.model.lm_head.weight is model.model.get_input_embeddings().weight
