"""What is kept of a long text is what the whole text begins with, and no more is tokenised."""

import copy
import random
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from diysink.model import (
    CachedScorer,
    ChatEncoder,
    PromptScorer,
    positions,
    selections_of,
    training_length,
)
from diysink.model.lengths import beginning
from diysink.records import Turn
from diysink.selection import CoTSelection, CoTTemplates, FixedSelection, MultipleChoice
from tests.tiny_models import tiny_generator, tiny_questions

ENGLISH = (
    "The sinks of a vision encoder are tokens of large norm; they carry what is global, "
    "and the others carry what is local. "
)
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}USER: {{ m.content }} "
    "{% else %}ASSISTANT: {{ m.content }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)


@pytest.fixture(scope="module")
def bpe():
    """Byte-level BPE, as of Qwen or Llama 3: any text, several tokens for one character."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<pad>", "</s>", "<image>"]
    made.train_from_iterator(
        [ENGLISH * 20, "USER: ASSISTANT: " * 20],
        trainers.BpeTrainer(
            vocab_size=420,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
        chat_template=TEMPLATE,
    )


def noise(length, seed=0):
    """Text of several scripts, of runs of spaces and of one letter."""
    chance = random.Random(seed)
    pieces = [*ENGLISH.split(), "    ", "\n", "aaaaaaaa", "日本語", "🙂", "é", "x" * 40, "<imag"]
    return " ".join(chance.choice(pieces) for _ in range(length))


@pytest.mark.parametrize("tokens", [0, 1, 7, 100, 1000, 10**6])
def test_the_beginning_of_a_text_is_that_of_the_whole(bpe, tokens):
    text = noise(3000)
    whole = bpe(text, add_special_tokens=False)["input_ids"]
    part = beginning(bpe, text, tokens)
    assert text.startswith(part)
    ids = bpe(part, add_special_tokens=False)["input_ids"]
    # A character of several tokens may be the last one.
    assert abs(len(ids) - min(tokens, len(whole))) <= 3
    assert ids[:-4] == whole[: max(0, len(ids) - 4)]


def test_positions_are_the_language_models():
    assert positions(SimpleNamespace(max_position_embeddings=7)) == 7
    nested = SimpleNamespace(text_config=SimpleNamespace(max_position_embeddings=9))
    assert positions(nested) == 9
    assert positions(SimpleNamespace()) is None


@pytest.mark.parametrize(
    ("most", "asked", "length"),
    [(4096, None, 2048), (512, None, 512), (None, None, 2048), (4096, 4096, 4096), (512, 100, 100)],
)
def test_the_length_of_training(most, asked, length):
    assert training_length(SimpleNamespace(max_position_embeddings=most), asked) == length


@pytest.mark.parametrize("asked", [0, -1, 513])
def test_a_length_that_cannot_be(asked):
    with pytest.raises(ValueError, match="max_length"):
        training_length(SimpleNamespace(max_position_embeddings=512), asked)


def dialogue(rounds, words, seed=0, images=(0,)):
    """Rounds of question and answer; ``images`` are the turns that show one."""
    turns = []
    for speaker in ("human", "gpt") * rounds:
        text = noise(words, seed + len(turns))
        turns.append(Turn(speaker, f"<image>\n{text}" if len(turns) in images else text))
    return turns


DIALOGUES = {
    "short": dialogue(2, 3),
    "long turns": dialogue(2, 400),
    "many turns": dialogue(60, 8),
    "tiny turns": [Turn("human", "<image>\na"), Turn("gpt", "b"), *dialogue(150, 1, images=())],
    "a long question": [Turn("human", f"<image>\n{noise(3000)}"), Turn("gpt", "a")],
    "a long answer": [Turn("human", "<image>\nwhat?"), Turn("gpt", noise(3000))],
    "an image late": dialogue(8, 100, images=(0, 14)),
    "an image in the cut turn": [
        Turn("human", f"<image>\n{noise(900)} <image>"), Turn("gpt", "a")
    ],
    "no image": dialogue(30, 30, images=()),
}  # fmt: skip


@pytest.mark.parametrize("limit", [60, 201, 512, 100_000])
@pytest.mark.parametrize("name", DIALOGUES)
def test_a_dialogue_is_kept_to_the_last_answer_that_fits(bpe, name, limit):
    chat_encoder, turns = ChatEncoder(bpe, image_tokens=9), DIALOGUES[name]
    kept = chat_encoder.fitting_turns(turns, limit)
    assert kept % 2 == 0
    if kept:
        assert len(chat_encoder.dialogue(turns[:kept]).input_ids) <= limit
    if kept < len(turns):
        assert len(chat_encoder.dialogue(turns[: kept + 2]).input_ids) > limit


def test_visual_tokens_count(bpe):
    chat_encoder = ChatEncoder(bpe, image_tokens=9)
    turns = [Turn("human", "<image><image>\nwhat?"), Turn("gpt", "a")]
    length = len(chat_encoder.dialogue(turns).input_ids)
    assert length > 18
    assert [chat_encoder.fitting_turns(turns, n) for n in (5, 18, length - 1, length)] == [
        0, 0, 0, 2
    ]  # fmt: skip


class Watched:
    """A tokenizer that counts the characters it is given."""

    def __init__(self, tokenizer):
        self.tokenizer, self.characters = tokenizer, 0

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)

    def __call__(self, text, **options):
        self.characters += sum(map(len, text)) if isinstance(text, list) else len(text)
        return self.tokenizer(text, **options)


MEGABYTES = {
    "a question": [Turn("human", "<image>\n" + ENGLISH * 8000), Turn("gpt", "a")],
    "an answer": [Turn("human", "<image>\nwhat?"), Turn("gpt", "x" * 1_000_000)],
    "turns": [
        Turn("human", "<image>\nwhat?"), *[Turn("gpt", "a"), Turn("human", "b")] * 20_000
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", MEGABYTES)
def test_a_megabyte_is_not_tokenised_to_its_end(bpe, name):
    turns = MEGABYTES[name]
    watched = Watched(bpe)
    kept = ChatEncoder(watched, image_tokens=576).fitting_turns(turns, 1024)
    assert (kept > 0) == (name == "turns")
    assert watched.characters < 300_000


@pytest.fixture(scope="module")
def generator(parts):
    if "qwen2" in parts.name:
        pytest.skip("of these few words, Qwen's tokenizer makes offsets that are not theirs")
    return tiny_generator(parts, sinks=0.3, max_new_tokens=4)


LONG = "a b c d e f g h " * 40  # 320 tokens; the tiny models have 64 positions


def test_a_question_is_cut_to_the_positions_that_are_left(generator):
    assert generator.longest == 60
    kept = generator.chat_encoder.fitting(LONG, generator.longest)
    assert LONG.startswith(kept)
    ids = generator.chat_encoder.question(f"<image>\n{kept}")
    assert len(ids) == 60
    assert generator.chat_encoder.fitting("a b", generator.longest) == "a b"
    assert generator.chat_encoder.fitting(LONG, None) == LONG
    # Exactly as long as may be: nothing is cut.
    assert generator.chat_encoder.fitting(kept, generator.longest) == kept


def test_long_questions_are_answered_as_their_beginnings_and_counted(generator, caplog):
    images = [Image.new("RGB", (12, 12), colour) for colour in ("red", "blue", "white")]
    kept = generator.chat_encoder.fitting(LONG, generator.longest)
    expected = generator.answer(images, ["a", kept, "b"])
    assert caplog.records == []
    assert generator.answer(images, ["a", LONG, "b"]) == expected
    (record,) = caplog.records
    assert record.args == (1, 3, "1")
    answers = generator.answer_batch(tiny_questions(("a", LONG, "b")))
    assert answers.cut == (False, True, False)


def test_a_megabyte_of_a_question_is_answered(generator):
    watched = copy.copy(generator)
    watched.chat_encoder = copy.copy(generator.chat_encoder)
    watched.chat_encoder.tokenizer = Watched(generator.chat_encoder.tokenizer)
    assert len(watched.answer([Image.new("RGB", (12, 12))], [LONG * 1600])) == 1
    assert watched.chat_encoder.tokenizer.characters < 20_000


def test_no_room_for_any_question_is_said(parts):
    generator = tiny_generator(parts, max_new_tokens=60)
    with pytest.raises(ValueError, match=r"tokens.* room for 4 .*max_new_tokens"):
        generator.answer_batch(tiny_questions(("a",), ("x",)))


TEMPLATES = CoTTemplates("a b", ("c", "d"), "a {question} h g", ("e", "f g"))


@pytest.mark.parametrize("scorer", [PromptScorer, CachedScorer])
def test_cot_cuts_the_question_and_not_what_is_asked_about_it(generator, scorer):
    model, chat_encoder = generator.model, generator.chat_encoder
    long, short = (
        TEMPLATES.multiple_choices(tiny_questions((text,), ("x",))) for text in (LONG, "a b")
    )
    score = scorer(model, chat_encoder)
    # The longest beginning with which prompt and choice have 64 tokens.
    for words in range(64, 0, -1):
        kept = " ".join(LONG.split()[:words])
        prompt = f"<image>\na {kept} h g"
        if len(chat_encoder.dialogue([Turn("human", prompt), Turn("gpt", "f g")]).input_ids) <= 64:
            break
    cut = TEMPLATES.multiple_choices(tiny_questions((kept,), ("x",)))
    asked = tiny_questions((LONG,), ("x",))
    for mine, theirs in zip(
        score(asked, long).log_likelihoods, score(asked, cut).log_likelihoods, strict=True
    ):
        assert torch.equal(mine, theirs)
    assert score(asked, short).log_likelihoods[1].shape == (1, 2)
    # A multiple_choice without a template is cut at its end.
    plain = MultipleChoice((LONG,), ("c", "d"))
    assert score(asked, [plain]).log_likelihoods[0].isfinite().all()


def test_a_template_without_room_is_said(generator):
    templates = CoTTemplates("a", ("c", "d"), LONG + "{question}", ("e", "f"))
    score = PromptScorer(generator.model, generator.chat_encoder)
    with pytest.raises(ValueError, match="shorten the template"):
        CoTSelection(score, templates)(tiny_questions(("a",), ("x",)))


@pytest.mark.parametrize("name", ["cot", "cot-soft", "sink"])
def test_generate_chooses_by_a_long_question(generator, name):
    model = generator.model
    model.selections = selections_of(model, generator.chat_encoder, templates=TEMPLATES)
    ids = generator.chat_encoder.question("<image>\na b")[None]
    pixels = tiny_questions(("a",), ("x",)).pixel_values
    out = model.generate(
        ids, pixels, selection=name, questions=[LONG], max_new_tokens=2, pad_token_id=0
    )
    assert out.shape[1] > ids.shape[1]


def test_a_selection_sees_the_question_that_is_asked(generator):
    seen = []

    class Seeing(FixedSelection):
        def __call__(self, questions):
            seen.append(questions)
            return super().__call__(questions)

    other = copy.copy(generator)
    other.selection = Seeing("both")
    asked = tiny_questions((LONG,), ("x",))
    other.answer_batch(asked)
    assert seen[0].texts == (generator.chat_encoder.fitting(LONG, generator.longest),)
    assert seen[0].ids == asked.ids
