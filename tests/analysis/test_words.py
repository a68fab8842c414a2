"""What one token says by itself: the cut is a cut, a planted word is found, another's is not."""

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from diysink.analysis.words import naming_tables, said_alone, word_ids, word_table, words_by_image
from diysink.model import Visual
from tests.tiny_models import WORDS, tiny_generator

TOKENS = 9
OPTIONS = {"resamples": 100, "level": 0.9, "seed": 0}


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
    said = said_alone(generator, first, len(WORDS))
    kept = 5
    other = visual(generator, seed=2).features
    other[:, kept] = first.features[:, kept]
    changed = said_alone(generator, Visual(other, first.sinks), len(WORDS))
    assert torch.equal(said[:, kept], changed[:, kept])
    assert not torch.equal(said, changed)
    mine = first.features.clone()
    mine[:, kept] = torch.randn_like(mine[:, kept])
    changed = said_alone(generator, Visual(mine, first.sinks), len(WORDS))
    assert not torch.equal(said[:, kept], changed[:, kept])
    rest = [i for i in range(TOKENS) if i != kept]
    assert torch.equal(said[:, rest], changed[:, rest])


def test_eager_and_sdpa_say_the_same_and_others_are_refused(generator):
    language, shown = generator.model.model.language_model, visual(generator)
    said = {}
    for kind in ("eager", "sdpa"):
        language.set_attn_implementation(kind)
        said[kind] = said_alone(generator, shown, 3)
    assert torch.equal(said["eager"], said["sdpa"])
    language.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ValueError, match="'sdpa' or 'eager'"):
        said_alone(generator, shown, 3)
    language.set_attn_implementation("sdpa")


def test_is_what_a_sequence_of_text_and_that_token_alone_says(generator):
    """The reference: the other tokens left out of the sequence, the position its own."""
    model, shown = generator.model, visual(generator, images=1)
    said = said_alone(generator, shown, len(WORDS))
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
        said = said_alone(generator, shown, 1)[..., 0].tolist()
        weight.copy_(before)
    for image in said:
        assert [WORDS[image[place]] for place in (3, 7, 0)] == ["c", "c", "g"]


def test_rows_are_chosen_tokens_of_images_that_have_some(generator):
    torch.manual_seed(3)
    pixels = torch.randn(3, 3, 12, 12)
    sinks = torch.zeros(3, TOKENS, dtype=torch.bool)
    sinks[0, [1, 2]], sinks[2, 4] = True, True
    made = words_by_image(
        generator, pixels, ["a", "b", "c"], {"sink": sinks, "matched": sinks.roll(1, 1)}, 3
    )
    assert made[["image", "tokens", "token"]].to_numpy().tolist() == [
        ["a", "sink", 1], ["a", "sink", 2], ["a", "matched", 2], ["a", "matched", 3],
        ["c", "sink", 4], ["c", "matched", 5],
    ]  # fmt: skip
    assert made["words"].map(len).eq(3).all()
    alone = words_by_image(
        generator, pixels[2:], ["c"], {"sink": sinks[2:], "matched": sinks.roll(1, 1)[2:]}, 3
    )
    assert alone["words"].tolist() == made["words"].tolist()[4:]


# --- Tables ----------------------------------------------------------------------------------

IDS = {"red": frozenset({1}), "blue": frozenset({2, 3}), "few": frozenset({4})}


def measured(images=40, shuffle=False):
    """Two sinks and two others an image: sinks say its colour, others say a number at random."""
    rng = np.random.default_rng(0)
    rows, labels = [], []
    for i in range(images):
        colour = ("red", "blue")[i % 2]
        labels += [(f"{i}", "colour", colour), (f"{i}", "crowd", "few")]
        words = [[1 if colour == "red" else 3, 9]] * 2 + [[int(rng.integers(5, 9)), 9]] * 2
        order = rng.permutation(4) if shuffle else range(4)
        rows += [
            (f"{i}", ("sink", "matched")[place // 2], place, words[token])
            for place, token in enumerate(order)
        ]
    return (
        pd.DataFrame(rows, columns=["image", "tokens", "token", "words"]),
        pd.DataFrame(labels, columns=["image", "attribute", "label"]),
    )


def named(made, tokens, labels="true"):
    [row] = made[(made["tokens"] == tokens) & (made["labels"] == labels)].to_dict("records")
    return row


def test_sinks_that_name_are_found_with_both_controls():
    every, by_attribute = naming_tables(*measured(), IDS, **OPTIONS)
    colour = by_attribute[by_attribute["attribute"] == "colour"]
    assert named(colour, "sink")["value"] == 1
    assert named(colour, "matched")["value"] == 0
    assert named(colour, "sink - matched")["low"] > 0.9
    shuffled = named(colour, "sink", "shuffled")
    assert 0.2 < shuffled["value"] < 0.8
    assert shuffled["high"] < 1
    assert named(every, "sink")["value"] == pytest.approx(0.5)  # of two attributes, one
    assert named(every, "sink")["n_images"] == 40


def test_shuffled_masks_find_nothing():
    _, by_attribute = naming_tables(*measured(shuffle=True), IDS, **OPTIONS)
    colour = by_attribute[by_attribute["attribute"] == "colour"]
    gap = named(colour, "sink - matched")
    assert gap["low"] < 0 < gap["high"]


def test_one_of_several_objects_is_enough_and_unlabelled_images_do_not_count():
    words, labels = measured(6)
    more = pd.concat([labels, labels[:1].assign(label="blue")]).query("image != '5'")
    every, by_attribute = naming_tables(words, more, IDS, **OPTIONS)
    assert named(by_attribute[by_attribute["attribute"] == "colour"], "sink")["value"] == 1
    assert named(every, "sink")["n_images"] == 5
    assert all(t.empty for t in naming_tables(words, labels[:0], IDS, **OPTIONS))


def test_top_words_are_shares_of_a_sets_tokens(tokenizer):
    rows = [("a", "sink", 0, [6, 7]), ("a", "sink", 1, [6, 8]), ("a", "matched", 2, [9, 8])]
    made = word_table(
        pd.DataFrame(rows, columns=["image", "tokens", "token", "words"]), tokenizer, 2
    )
    assert made["tokens"].tolist() == ["sink", "sink", "matched", "matched"]
    assert made["word"].iloc[0] == "a"
    assert made["share"].tolist() == [1, 0.5, 1, 1]
    assert made["n_tokens"].tolist() == [2, 2, 1, 1]
    assert word_ids(tokenizer, ["b c", "h"]) == {"b c": frozenset({7}), "h": frozenset({13})}


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
