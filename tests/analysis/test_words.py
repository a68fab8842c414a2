"""Words of one token: the cut is a cut, a planted word is found, another's is not."""

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from diysink.analysis import Context
from diysink.analysis.diysink_subject import DIYSinkSubject
from diysink.analysis.table import select
from diysink.analysis.words import Words, WordSettings, isolating_mask, word_ids
from diysink.model import Visual
from diysink.resampling import Bootstrap
from tests.analysis.batches import measured
from tests.tiny_models import WORDS, tiny_generator, tiny_questions

TOKENS = 9
LESS = "sink - random-matched"


def words(labels=None, tokenizer=None, **settings):
    context = Context(
        Bootstrap(100, 0.9, 0),
        labels=pd.DataFrame() if labels is None else labels,
        tokenizer=tokenizer,
    )
    return Words(WordSettings(**settings), context)


def words_of(generator, visual, top):
    """Words at the visual tokens, whatever the encoder makes of an image."""
    subject = DIYSinkSubject(generator)
    subject.visual = lambda encoded: visual
    images = len(visual.features)
    encoded = subject.encode_pixels(torch.zeros(images, 3, 12, 12))
    prompts = subject.prompts(encoded, [""] * images)
    return subject.visual_logits(prompts, isolating_mask(prompts)).topk(top, dim=-1).indices


@pytest.fixture(scope="module", params=["natural", "front"])
def generator(parts, request):
    made = tiny_generator(parts, connector="single", arrangement=request.param)
    torch.manual_seed(0)
    for weight in made.model.model.language_model.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight, std=0.5)  # so that what is attended to decides
    made.model.config.tau = 3.5
    return made


def visual(generator, seed=1, images=2):
    torch.manual_seed(seed)
    dim = generator.model.config.text_config.hidden_size
    sinks = torch.zeros(images, TOKENS, dtype=torch.bool)
    sinks[:, [3, 7]] = True
    return Visual(torch.randn(images, TOKENS, dim), sinks)


def test_other_visual_tokens_change_nothing_and_the_token_itself_does(generator):
    first = visual(generator)
    said = words_of(generator, first, len(WORDS))
    kept = 5
    other = visual(generator, seed=2).features
    other[:, kept] = first.features[:, kept]
    changed = words_of(generator, Visual(other, first.sinks), len(WORDS))
    assert torch.equal(said[:, kept], changed[:, kept])
    assert not torch.equal(said, changed)
    mine = first.features.clone()
    mine[:, kept] = torch.randn_like(mine[:, kept])
    changed = words_of(generator, Visual(mine, first.sinks), len(WORDS))
    assert not torch.equal(said[:, kept], changed[:, kept])
    rest = [i for i in range(TOKENS) if i != kept]
    assert torch.equal(said[:, rest], changed[:, rest])


def test_eager_and_sdpa_have_the_same_words(generator):
    language, shown = generator.model.model.language_model, visual(generator)
    words = {}
    for kind in ("eager", "sdpa"):
        language.set_attn_implementation(kind)
        words[kind] = words_of(generator, shown, 3)
    assert torch.equal(words["eager"], words["sdpa"])


def test_is_what_a_sequence_of_text_and_that_token_alone_says(generator):
    """The reference: the other tokens left out of the sequence, the position its own."""
    model, shown = generator.model, visual(generator, images=1)
    said = words_of(generator, shown, len(WORDS))
    ids = generator.chat_encoder.question("<image>")
    first = int((ids == model.config.image_token_id).nonzero()[0])
    order = torch.arange(TOKENS)
    if model.config.arrangement == "front":
        order = torch.argsort((~shown.sinks[0]).int(), stable=True)
    for token in (0, 3, 8):
        place = first + int((order == token).nonzero())
        text = model.get_input_embeddings()(ids[:first])
        states = model.model.language_model(
            inputs_embeds=torch.cat([text, shown.features[0, [token]]])[None],
            position_ids=torch.tensor([[*range(first), place]]),
            attention_mask=torch.ones(1, first + 1, dtype=torch.long),
            use_cache=False,
        ).last_hidden_state
        expected = model.lm_head(states[0, -1]).argsort(descending=True)
        assert torch.equal(said[0, token], expected)


def test_a_planted_word_is_said_by_the_tokens_that_carry_it(generator):
    """A token that is the LM head's own row of a word, large beside what layers add, says it."""
    weight = generator.model.lm_head.weight
    before = weight.detach().clone()
    rows = before - before.mean(1, keepdim=True)
    shown = visual(generator)
    with torch.no_grad():
        weight.copy_(rows / rows.norm(dim=1, keepdim=True))  # no row is long for all
        for word, places in (("c", [3, 7]), ("g", [0])):
            shown.features[:, places] = 1000 * weight[WORDS.index(word)]
        said = words_of(generator, shown, 1)[..., 0].tolist()
        weight.copy_(before)
    for image in said:
        assert [WORDS[image[place]] for place in (3, 7, 0)] == ["c", "c", "g"]


def test_rows_are_tokens_of_images_that_have_sinks(generator):
    sinks = torch.zeros(3, TOKENS, dtype=torch.bool)
    sinks[0, [1, 2]], sinks[2, 4] = True, True
    generator.model.model.sink_mask = lambda states: sinks
    try:
        rows = measured(words(top=3), generator, tiny_questions(("a", "b", "c")))
    finally:
        del generator.model.model.sink_mask
    assert rows.groupby(["image", "condition"]).size().to_dict() == {
        ("x", "random-matched"): 2, ("x", "sink"): 2,
        ("z", "random-matched"): 1, ("z", "sink"): 1,
    }  # fmt: skip
    assert rows.loc[rows["condition"] == "sink", "token"].tolist() == [1, 2, 4]
    assert rows["words"].map(len).eq(3).all()


# --- Tables ----------------------------------------------------------------------------------


def planted(images=40, shuffle=False):
    """Two sinks and two others an image: sinks have its letter, others a random one of three."""
    rng = np.random.default_rng(0)
    rows, labels = [], []
    for i in range(images):
        letter = "ab"[i % 2]
        labels += [(f"{i}", "letter", letter), (f"{i}", "crowd", "h")]
        others = [[WORDS.index(rng.choice(["d", "e", "f"])), 0] for _ in range(2)]
        best = [[WORDS.index(letter), 0]] * 2 + others
        order = rng.permutation(4) if shuffle else range(4)
        rows += [
            (f"{i}", ("sink", "random-matched")[at // 2], at, best[token])
            for at, token in enumerate(order)
        ]
    return (
        pd.DataFrame(rows, columns=["image", "condition", "token", "words"]),
        pd.DataFrame(labels, columns=["image", "attribute", "label"]),
    )


def named(table, group, condition, control="none"):
    of = {"group": group, "condition": condition, "control": control}
    [row] = select(table, metric="names its label", **of).to_dict("records")
    return row


def test_sinks_that_name_are_found_with_both_controls(tokenizer):
    rows, labels = planted()
    table = words(labels, tokenizer).summarize(rows)
    assert named(table, "letter", "sink")["value"] == 1
    assert named(table, "letter", "random-matched")["value"] == 0
    assert named(table, "letter", LESS)["low"] > 0.9
    shuffled = named(table, "letter", "sink", "shuffled")
    assert 0.2 < shuffled["value"] < 0.8
    assert shuffled["high"] < 1
    gap = named(table, "letter", "sink", "none - shuffled")
    assert gap["value"] == pytest.approx(1 - shuffled["value"])
    assert named(table, "all", "sink")["value"] == pytest.approx(0.5)  # of two attributes, one
    assert named(table, "all", "sink")["n_images"] == 40


def test_shuffled_masks_find_nothing(tokenizer):
    rows, labels = planted(120, shuffle=True)
    gap = named(words(labels, tokenizer).summarize(rows), "letter", LESS)
    assert gap["low"] < 0 < gap["high"]


def test_one_of_several_objects_is_enough_and_unlabelled_images_do_not_count(tokenizer):
    rows, labels = planted(6)
    more = pd.concat([labels, labels[:1].assign(label="b")]).query("image != '5'")
    table = words(more, tokenizer).summarize(rows)
    assert named(table, "letter", "sink")["value"] == 1
    assert named(table, "all", "sink")["n_images"] == 5
    without = words(None, tokenizer).summarize(rows)
    assert set(without["metric"]) == {"word share"}


def test_word_shares_are_of_a_sets_tokens(tokenizer):
    a, b, c, d = (WORDS.index(letter) for letter in "abcd")
    rows = pd.DataFrame(
        [("x", "sink", 0, [a, b]), ("x", "sink", 1, [a, c]), ("x", "random-matched", 2, [d, c])],
        columns=["image", "condition", "token", "words"],
    )
    table = words(None, tokenizer, rows=2).summarize(rows)
    assert table["condition"].tolist() == ["sink", "sink", "random-matched", "random-matched"]
    assert table["word"].iloc[0] == "a"
    assert table["value"].tolist() == [1, 0.5, 1, 1]
    assert table["n"].tolist() == [2, 2, 1, 1]
    assert word_ids(tokenizer, ["b c", "h"]) == {"b c": frozenset({7}), "h": frozenset({13})}


def test_the_figure_has_both_controls_and_stands_without_labels(tokenizer):
    rows, labels = planted()
    [made] = Words.figures(words(labels, tokenizer).summarize(rows), 0.95)
    assert "in 50 % [50, 50] of cases, another token in 0 % [0, 0]" in made.title
    [made] = Words.figures(words(None, tokenizer).summarize(rows), 0.95)
    assert "no labels" in made.title
    assert Words.figures(words(labels, tokenizer).summarize(rows[:0]), 0.95) == []


def test_a_space_that_is_a_token_of_its_own_names_nothing():
    """Llama's way: a second space before a word is a token, and comes first."""
    letters = [(letter, -9.0) for letter in "catdog"]
    pieces = [("<unk>", 0.0), ("▁", -1.0), ("▁cat", -1.0), ("▁dog", -1.0), *letters]
    made = Tokenizer(models.Unigram(pieces, unk_id=0))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made)
    assert tokenizer(" cat", add_special_tokens=False)["input_ids"] == [1, 2]  # the trap is there
    named = word_ids(tokenizer, ["cat", "dog"])
    assert named == {"cat": frozenset({2}), "dog": frozenset({3})}
