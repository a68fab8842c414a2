"""Sentence encoders pool as their own files say; the language model's words need none."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from diysink.artifact import BrokenFileError
from diysink.encoders import CheckpointError
from diysink.selection import LanguageModelSentences, SentenceEncoder, load_sentences
from diysink.selection.sentence import SentenceSettings

TEXTS = ("a b c d", "e", "f g")
FLAGS = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "lasttoken")


def folder(tiny_sentence, target, pooling, *, normalize=True, extra=(), own=None):
    """A sentence-transformers folder around the tiny encoder."""
    shutil.copytree(tiny_sentence, target)
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else []), *extra]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": f"{i}_{kind}" if i else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    (target / "modules.json").write_text(json.dumps(modules))
    (target / "1_Pooling").mkdir()
    (target / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    if own is not None:
        (target / "sentence_bert_config.json").write_text(json.dumps(own))
    return target


def flags(*on):
    return {"word_embedding_dimension": 8, **{f"pooling_mode_{f}": f in on for f in FLAGS}}


def states(encoder, text):
    """Last hidden states of one text by itself: no padding that pooling could get wrong."""
    coded = encoder.tokenizer(text, return_tensors="pt")
    return encoder.model(coded["input_ids"]).last_hidden_state[0]


RULES = {"mean_tokens": lambda states: states.mean(0), "cls_token": lambda states: states[0]}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("normalize", [True, False])
def test_pools_by_the_folders_rule(tmp_path, tiny_sentence, rule, normalize):
    encoder = SentenceEncoder.load(
        folder(tiny_sentence, tmp_path / "st", flags(rule), normalize=normalize)
    )
    encoder.tokenizer.padding_side = "left"  # must not matter
    expected = torch.stack([RULES[rule](states(encoder, text)) for text in TEXTS])
    if normalize:
        expected = expected / expected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(encoder(TEXTS), expected, atol=1e-6, rtol=1e-5)


def test_newer_folders_name_the_rule(tmp_path, tiny_sentence):
    named = {"embedding_dimension": 8, "pooling_mode": "cls"}
    new = SentenceEncoder.load(folder(tiny_sentence, tmp_path / "new", named))
    old = SentenceEncoder.load(folder(tiny_sentence, tmp_path / "old", flags("cls_token")))
    mean = SentenceEncoder.load(folder(tiny_sentence, tmp_path / "mean", flags("mean_tokens")))
    assert torch.equal(new(TEXTS), old(TEXTS))
    assert not torch.allclose(new(TEXTS), mean(TEXTS))


def test_a_plain_transformers_folder_is_averaged_to_length_one(tmp_path, tiny_sentence):
    plain = SentenceEncoder.load(tiny_sentence)
    st = SentenceEncoder.load(folder(tiny_sentence, tmp_path / "st", flags("mean_tokens")))
    assert torch.equal(plain(TEXTS), st(TEXTS))
    torch.testing.assert_close(plain(TEXTS).norm(dim=1), torch.ones(3))


def test_texts_are_cut_where_the_folder_says(tmp_path, tiny_sentence):
    own = {"max_seq_length": 2, "do_lower_case": False}
    st = folder(tiny_sentence, tmp_path / "st", flags("mean_tokens"), own=own)
    encoder = SentenceEncoder.load(st)
    assert torch.equal(encoder(["a b c d"]), encoder(["a b e"]))
    assert not torch.allclose(encoder(["a b c d"]), encoder(["a c"]))


@pytest.mark.parametrize(
    ("pooling", "options", "message"),
    [
        (flags("max_tokens"), {}, "pools by max_tokens; supported"),
        (flags("cls_token", "mean_tokens"), {}, "pools by cls_token and mean_tokens"),
        (flags(), {}, "pools by no known rule"),
        ({"pooling_mode": "lasttoken"}, {}, "pools by lasttoken"),
        (flags("mean_tokens"), {"extra": ["Dense"]}, "has modules Dense"),
        (flags("mean_tokens"), {"own": {"do_lower_case": True}}, "lowers case outside"),
    ],
)
def test_what_is_not_supported_is_refused(tmp_path, tiny_sentence, pooling, options, message):
    with pytest.raises(ValueError, match=message):
        SentenceEncoder.load(folder(tiny_sentence, tmp_path / "st", pooling, **options))


def test_the_language_models_words_are_averaged(tokenizer):
    torch.manual_seed(0)
    words = nn.Embedding(14, 5)
    sentences = load_sentences("language-model", words, tokenizer)
    assert isinstance(sentences, LanguageModelSentences)
    assert sentences.dim == 5
    a, b, e = (words.weight[tokenizer.convert_tokens_to_ids(word)] for word in "abe")
    expected = torch.stack([(a + b + b) / 3, e])
    expected = (expected / expected.norm(dim=1, keepdim=True)).detach()
    torch.testing.assert_close(sentences(["a b b", "e"]), expected)
    assert not sentences(["a"]).requires_grad
    assert torch.equal(sentences([""]), torch.zeros(1, 5))


def test_another_name_is_a_sentence_encoder(tiny_sentence, tokenizer):
    loaded = load_sentences(tiny_sentence, nn.Embedding(14, 5), tokenizer)
    assert torch.equal(loaded(TEXTS), SentenceEncoder.load(tiny_sentence)(TEXTS))


def roberta(folder, tokenizer):
    """Twenty rows of positions, two of which stand before the first token's."""
    from transformers import RobertaConfig, RobertaModel

    torch.manual_seed(0)
    config = RobertaConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        vocab_size=14, max_position_embeddings=20, pad_token_id=1,
    )  # fmt: skip
    RobertaModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


LONG = " ".join("abcdefgh"[i % 8] for i in range(300))


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_texts_are_cut_at_the_models_positions_and_counted(
    kind, tmp_path, tiny_sentence, tokenizer, caplog
):
    """The tokenizer says that there is no limit."""
    path = tiny_sentence if kind == "bert" else roberta(tmp_path, tokenizer)
    encoder = SentenceEncoder.load(path)
    assert encoder.tokenizer.model_max_length > 10**9
    most = 64 if kind == "bert" else 18
    assert encoder.longest == most
    beginning = " ".join(LONG.split()[:most])
    assert torch.equal(encoder([LONG]), encoder([beginning]))
    assert torch.equal(encoder([LONG, "a"])[1:], encoder(["a"]))
    assert encoder.cut == 2
    assert len(caplog.records) == 1
    assert caplog.records[0].args == (most,)


@pytest.mark.parametrize(("asked", "said", "longest"), [(5, 9, 5), (99, 9, 9), (99, 1024, 64)])
def test_the_least_of_the_limits_holds(tiny_sentence, asked, said, longest):
    loaded = SentenceEncoder.load(tiny_sentence)
    loaded.tokenizer.model_max_length = said
    encoder = SentenceEncoder(loaded.model, loaded.tokenizer, SentenceSettings(max_tokens=asked))
    assert encoder.longest == longest
    assert encoder([LONG]).isfinite().all()


class Watched:
    """A tokenizer that counts the characters it is given."""

    def __init__(self, tokenizer):
        self.tokenizer, self.characters = tokenizer, 0

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)

    def __call__(self, text, **options):
        self.characters += len(text)
        return self.tokenizer(text, **options)


def test_a_megabyte_is_not_tokenised_to_its_end(tiny_sentence, tokenizer):
    text = LONG * 1700
    encoder = SentenceEncoder.load(tiny_sentence)
    words = load_sentences("language-model", nn.Embedding(14, 5), tokenizer)
    for sentences in (encoder, words):
        sentences.tokenizer = Watched(sentences.tokenizer)
        sentences([text])
        assert sentences.cut == 1
        assert sentences.tokenizer.characters < 50_000


def test_the_language_models_words_are_so_many_at_most(tokenizer):
    import copy

    torch.manual_seed(0)
    words = nn.Embedding(14, 5)
    assert load_sentences("language-model", words, tokenizer).longest == 2048
    short = copy.deepcopy(tokenizer)
    short.model_max_length = 4
    sentences = load_sentences("language-model", words, short)
    assert torch.equal(sentences([LONG]), sentences(["a b c d"]))
    assert sentences.cut == 1


def test_a_text_without_tokens_is_a_vector_of_zeros(tiny_sentence):
    encoder = SentenceEncoder.load(tiny_sentence)
    assert torch.equal(encoder([""]), torch.zeros(1, 8))
    both = encoder(["", "a b"])
    assert torch.equal(both[0], torch.zeros(8))
    torch.testing.assert_close(both[1:], encoder(["a b"]))


def test_an_encoder_that_lacks_weights_is_refused(tmp_path, tiny_sentence):
    """They would be random, and another vector in every process."""
    shutil.copytree(tiny_sentence, tmp_path / "st")
    weights = load_file(tmp_path / "st" / "model.safetensors")
    # A pooling head is not asked.
    weights = {name: w.clone() for name, w in weights.items() if not name.startswith("pooler.")}
    save_file(weights, tmp_path / "st" / "model.safetensors", {"format": "pt"})
    assert SentenceEncoder.load(tmp_path / "st")(TEXTS).isfinite().all()
    del weights["embeddings.word_embeddings.weight"]
    save_file(weights, tmp_path / "st" / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 weights.*word_embeddings"):
        SentenceEncoder.load(tmp_path / "st")


def test_a_pointer_in_the_place_of_a_module_file_is_named(tmp_path, tiny_sentence):
    st = folder(tiny_sentence, tmp_path / "st", flags("cls_token"))
    (st / "modules.json").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(BrokenFileError) as caught:
        SentenceEncoder.load(st)
    assert caught.value.path.name == "modules.json"


@pytest.mark.parametrize("source", ["/no/such/folder", "./nowhere", "models/mine"])
def test_a_sentence_encoder_that_is_not_there(source):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        SentenceEncoder.load(source)
