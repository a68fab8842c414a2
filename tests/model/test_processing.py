"""The processor: the same prompt as training writes, and what transformers' users give it."""

import copy
import shutil

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models
from tokenizers.processors import TemplateProcessing
from transformers import AutoProcessor, PreTrainedTokenizerFast

from diysink.model import ChatEncoder, DIYSinkProcessor, Parts, assemble, load
from diysink.model.template import either_form
from diysink.records import Turn

LISTS = (
    "{% for m in messages %}{{ m.role }}: {% for c in m.content %}"
    "{% if c.type == 'image' %}<image> {% else %}{{ c.text }} {% endif %}{% endfor %}{% endfor %}"
)
EITHER = (
    "{% for m in messages %}{% if m.content is string %}{{ m.content }} {% else %}"
    "{% for c in m.content %}{% if c.type == 'image' %}<image>\n{% else %}{{ c.text }} {% endif %}"
    "{% endfor %}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def made(parts):
    return assemble(
        Parts(encoder=str(parts / "encoder"), language=str(parts / "language")),
        None,
        connector="dual",
        arrangement="front",
    )


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    made.save(folder)
    return folder


def picture(colour="red"):
    return Image.new("RGB", (20, 14), colour)


def user(*content):
    return {"role": "user", "content": list(content)}


def image(colour="red"):
    return {"type": "image", "image": picture(colour)}


def text(words):
    return {"type": "text", "text": words}


def encoded(processor, chat, **options):
    return processor.apply_chat_template(
        chat, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True,
        **options,
    )  # fmt: skip


def test_a_chat_is_the_prompt_that_training_writes(made):
    got = encoded(made.processor, [user(image(), text("a b"))])
    assert torch.equal(got["input_ids"][0], made.chat_encoder.question("<image>\na b"))
    assert torch.equal(got["pixel_values"], made.image_processor([picture()]))
    assert set(got) == {"input_ids", "attention_mask", "pixel_values"}


def test_every_turn_and_every_image_is_where_it_was_put(made, tokenizer):
    processor = DIYSinkProcessor(made.processor.image_processor, tokenizer, 9)
    chat = [
        user(image(), image("blue"), text("a")),
        {"role": "assistant", "content": [text("b")]},
        user(text("c"), image("white")),
    ]
    got = encoded(processor, chat)
    words = ["USER:", "I", "I", "a", "ASSISTANT:", "b", "</s>", "USER:", "c", "I", "ASSISTANT:"]
    expected = []
    for word in words:
        expected += ["<image>"] * 9 if word == "I" else [word]
    assert tokenizer.convert_ids_to_tokens(got["input_ids"][0]) == expected
    colours = [picture(c) for c in ("red", "blue", "white")]
    assert torch.equal(got["pixel_values"], made.image_processor(colours))


def test_plain_text_content_is_a_message_too(made):
    plain = encoded(made.processor, [{"role": "user", "content": "a b"}])
    assert torch.equal(
        plain["input_ids"], encoded(made.processor, [user(text("a b"))])["input_ids"]
    )
    assert "pixel_values" not in plain


def test_chats_of_a_batch_with_none_one_and_two_images(made):
    chats = [[user(text("a"))], [user(image(), text("b"))], [user(image(), image(), text("c d"))]]
    batch = encoded(
        made.processor, chats, processor_kwargs={"padding": True, "padding_side": "left"}
    )
    assert (batch["input_ids"] == made.processor.image_token_id).sum(1).tolist() == [0, 9, 18]
    assert batch["pixel_values"].shape == (3, 3, 12, 12)
    assert batch["attention_mask"][:, -1].tolist() == [1, 1, 1]


def test_saved_and_loaded_it_gives_the_same(made, folder):
    loaded = AutoProcessor.from_pretrained(folder)
    assert isinstance(loaded, DIYSinkProcessor)
    assert loaded.image_seq_length == 9
    chat = [user(image(), text("a b")), {"role": "assistant", "content": "c"}]
    mine, again = encoded(made.processor, chat), encoded(loaded, chat)
    assert all(torch.equal(mine[name], again[name]) for name in mine)
    assert loaded.chat_template == made.processor.chat_template


def test_load_answers_with_the_same_prompts(made, folder):
    loaded = load(folder)
    question = "<image>\na b"
    assert torch.equal(loaded.chat_encoder.question(question), made.chat_encoder.question(question))
    assert torch.equal(loaded.pixels([picture()]), made.image_processor([picture()]))


def test_the_same_model_is_the_same_files(made, folder, tmp_path):
    made.save(tmp_path)
    names = {path.name for path in folder.iterdir()}
    assert {"processor_config.json", "tokenizer_config.json", "model.safetensors"} <= names
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_a_folder_of_an_earlier_version_says_what_to_do(made, folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "processor_config.json").unlink()
    made.processor.image_processor.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"diysink\.model\.load"):
        AutoProcessor.from_pretrained(tmp_path)
    assert load(tmp_path).answer([picture()], ["a"])  # as it always did


def test_images_and_placeholders_must_agree(made):
    with pytest.raises(ValueError, match="1 <image> tokens and 2 images"):
        made.processor(images=[picture(), picture()], text="USER: <image> a")
    with pytest.raises(ValueError, match="no images were passed"):
        made.processor(text="USER: <image> a")


def test_a_tokenizer_without_an_image_token_is_refused(made):
    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    bare = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
    with pytest.raises(ValueError, match="no <image> token"):
        DIYSinkProcessor(made.processor.image_processor, bare, 9)


# Templates: what each takes, and what is put before it.


def told(tokenizer, template):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = template
    return tokenizer


def rendered(tokenizer, content):
    return tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], chat_template=either_form(tokenizer), tokenize=False
    )


@pytest.mark.parametrize(
    ("template", "expected"),
    [(None, "USER: <image>\na b "), (LISTS, "user: <image> a b "), (EITHER, "<image>\na b ")],
)
def test_a_template_of_any_form_takes_lists(tokenizer, template, expected):
    words = tokenizer if template is None else told(tokenizer, template)
    assert rendered(words, [{"type": "image"}, text("a b")]) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [(None, "USER: a b "), (LISTS, "user: a b "), (EITHER, "a b ")],
)
def test_a_template_of_any_form_takes_text(tokenizer, template, expected):
    words = tokenizer if template is None else told(tokenizer, template)
    assert rendered(words, "a b") == expected


def test_nothing_is_put_before_a_template_twice(tokenizer):
    once = either_form(tokenizer)
    assert once != tokenizer.chat_template
    assert either_form(told(tokenizer, once)) == once
    assert either_form(told(tokenizer, EITHER)) == EITHER


def test_the_rest_of_a_message_and_a_templates_first_line_are_kept(tokenizer):
    template = "\n{% for m in messages %}{{ m.role }}{{ m.name }}: {{ m.content }}{% endfor %}"
    words = told(tokenizer, template)
    message = {"role": "user", "name": "x", "content": [text("a")]}
    got = words.apply_chat_template([message], chat_template=either_form(words), tokenize=False)
    assert got == "\nuserx: a"


def test_parts_that_are_neither_image_nor_text_are_refused(made):
    with pytest.raises(Exception, match="a part is an image or a text, not video"):
        made.processor.apply_chat_template([user({"type": "video"})])


def test_a_template_that_takes_neither_form_is_refused(tokenizer):
    with pytest.raises(ValueError, match="neither a user's plain text nor a list"):
        either_form(told(tokenizer, "{% for m in messages %}{{ m.role }}{% endfor %}"))


@pytest.mark.parametrize("template", [None, LISTS])
def test_labels_are_found_whatever_the_form(tokenizer, template):
    """A dialogue's answers have labels, and nothing else, from a template of lists too."""
    words = tokenizer
    if template is not None:
        end = "{% if m.role == 'assistant' %}</s> {% endif %}{% endfor %}"
        words = told(tokenizer, template.removesuffix("{% endfor %}") + end)
    turns = [Turn("human", "<image> a"), Turn("gpt", "b"), Turn("human", "c"), Turn("gpt", "d")]
    coded = ChatEncoder(words, 2).dialogue(turns)
    labelled = coded.input_ids[coded.labels != -100].tolist()
    kept = [t for t in labelled if words.decode([t]) in ("a", "b", "c", "d", "</s>")]
    assert words.decode(kept).split() == ["b", "</s>", "d", "</s>"]
    assert (coded.input_ids == words.convert_tokens_to_ids("<image>")).sum() == 2


def test_a_tokenizers_own_start_is_written_once(tokenizer):
    """As transformers' processors do: Llama's <s> is its tokenizer's, or its template's."""
    words = copy.deepcopy(tokenizer)
    words.add_special_tokens({"bos_token": "<s>"})
    start = words.convert_tokens_to_ids("<s>")
    words._tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", start)]
    )
    ids = ChatEncoder(words, 2).question("a").tolist()
    assert ids[0] == start
    assert ids.count(start) == 1
    words.chat_template = "<s> " + words.chat_template
    assert ChatEncoder(words, 2).question("a").tolist() == ids
    dialogue = ChatEncoder(words, 2).dialogue([Turn("human", "a"), Turn("gpt", "b")])
    assert dialogue.labels[0] == -100
