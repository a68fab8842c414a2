"""Stock LLaVA checkpoints, in every layout, answer the same to the bit when they are ours."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoProcessor,
    CLIPImageProcessorPil,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    SiglipImageProcessorPil,
)

import diysink
from diysink.encoders import Encoder, load_vision_tower
from diysink.model import from_llava
from diysink.selection import Choice
from diysink.sinks import ProfileMismatchError, SinkProfile, Threshold
from tests.tiny_models import LANGUAGES, TOWERS

# As LLaVA's own: it writes lists of parts, and of plain text nothing.
TEMPLATE = (
    "{% for m in messages %}{{ m.role | upper }}: "
    "{% for c in m.content | selectattr('type', 'equalto', 'image') %}{{ '<image> ' }}{% endfor %}"
    "{% for c in m.content | selectattr('type', 'equalto', 'text') %}{{ c.text + ' ' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)


def write(folder, vision, language, tokenizer, **changes):
    """A stock LLaVA folder; what distinguishes a real one from a fresh one is random too."""
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=TOWERS[vision]().config,
        text_config=LANGUAGES[language](),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=9,
        vision_feature_select_strategy="default" if vision == "clip" else "full",
        **changes,
    )
    model = LlavaForConditionalGeneration(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    kind = CLIPImageProcessorPil if vision == "clip" else SiglipImageProcessorPil
    size = {"height": 12, "width": 12}
    extra = {"do_center_crop": False} if vision == "clip" else {}
    LlavaProcessor(
        kind(size=size, **extra),
        tokenizer,
        patch_size=4,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        num_additional_image_tokens=1 if vision == "clip" else 0,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bare(tokenizer):
    """The tokenizer as a LLaVA's comes: the template is the processor's."""
    import copy

    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = None
    return tokenizer


@pytest.fixture(scope="module", params=[("clip", "llama"), ("clip", "qwen2"), ("siglip", "phi")])
def llava(request, tmp_path_factory, bare):
    return write(tmp_path_factory.mktemp("-".join(request.param)), *request.param, bare)


@pytest.fixture(scope="module")
def one(tmp_path_factory, bare):
    return write(tmp_path_factory.mktemp("one"), "clip", "llama", bare)


def older(name):
    """Transformers before 4.52, and LLaVA's repositories to this day."""
    return name.replace("vision_tower.", "vision_tower.vision_model.", 1)


def today(name):
    """The names of the modules."""
    if name.startswith("language_model.lm_head."):
        return name.removeprefix("language_model.")
    return "model." + name.replace("language_model.model.", "language_model.", 1)


LAYOUTS = {
    "as save_pretrained writes it": lambda name: name,
    "older": older,
    "today's": today,
    "between": lambda name: older(today(name)),
}


def in_layout(folder, to, rename, shards=1):
    shutil.copytree(folder, to, dirs_exist_ok=True)
    weights = {rename(k): v for k, v in load_file(folder / "model.safetensors").items()}
    if shards == 1:
        save_file(weights, to / "model.safetensors", {"format": "pt"})
        return to
    (to / "model.safetensors").unlink()
    where = {}
    for index in range(shards):
        part = f"model-{index + 1:05d}-of-{shards:05d}.safetensors"
        chosen = {k: weights[k] for k in sorted(weights)[index::shards]}
        save_file(chosen, to / part, {"format": "pt"})
        where |= dict.fromkeys(chosen, part)
    index = {"metadata": {}, "weight_map": where}
    (to / "model.safetensors.index.json").write_text(json.dumps(index))
    return to


def asked(processor, side="right"):
    """Two questions, one of them about two images, padded."""
    images = [[Image.new("RGB", (20, 12), c) for c in cs] for cs in (("red",), ("blue", "white"))]
    texts = ["USER: <image> a b ASSISTANT:", "USER: <image> <image> c d e f ASSISTANT:"]
    return processor(
        images=images, text=texts, padding=True, padding_side=side, return_tensors="pt"
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_answers_as_the_checkpoint_to_the_bit(llava, layout, tmp_path):
    stock = LlavaForConditionalGeneration.from_pretrained(llava).eval()
    processor = LlavaProcessor.from_pretrained(llava)
    theirs = asked(processor)
    made = from_llava(in_layout(llava, tmp_path, LAYOUTS[layout]), None, arrangement="natural")
    mine = asked(made.processor)
    assert set(mine) == {"input_ids", "attention_mask", "pixel_values"}
    for name, value in mine.items():
        assert torch.equal(value, theirs[name])
    true = mine["attention_mask"].bool()
    logits, expected = made.model(**mine).logits, stock(**theirs).logits
    assert torch.equal(logits[true], expected[true])
    options = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None}
    mine, theirs = asked(made.processor, "left"), asked(processor, "left")
    assert torch.equal(made.model.generate(**mine, **options), stock.generate(**theirs, **options))


def test_shards_are_one_checkpoint(one, tmp_path):
    whole, shards = (
        from_llava(folder, None).model.state_dict()
        for folder in (one, in_layout(one, tmp_path, older, shards=3))
    )
    assert set(whole) == set(shards)
    assert all(torch.equal(whole[name], shards[name]) for name in whole)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_encoder_alone_is_read_out_of_every_layout(llava, layout, shards, tmp_path):
    """What `sinks` measures is what the model sees through: the same weights, the same identity."""
    folder = in_layout(llava, tmp_path, LAYOUTS[layout], shards)
    whole = from_llava(folder, None).model.model.vision_tower
    alone = load_vision_tower(folder)
    assert type(alone) is type(whole)
    weights = whole.state_dict()
    assert alone.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in alone.state_dict().items())
    assert Encoder.of(alone, -2).identity.digest == Encoder.of(whole, -2).identity.digest


def test_an_encoder_that_a_llava_lacks_is_missed(one, tmp_path):
    folder = in_layout(one, tmp_path, lambda name: name.replace("post_layernorm", "other"))
    with pytest.raises(ValueError, match="lacks 2 weights of a CLIPVisionModel"):
        load_vision_tower(folder)


def test_both_parts_start_from_the_one_mlp_and_are_apart(one):
    weights = load_file(one / "model.safetensors")
    connector = from_llava(one, None).model.model.multi_modal_projector
    for part in (connector.sink, connector.nonsink):
        for name, value in part.state_dict().items():
            assert torch.equal(value, weights[f"multi_modal_projector.{name}"])
    with torch.no_grad():
        connector.sink.linear_1.weight.zero_()
    assert connector.nonsink.linear_1.weight.any()


def with_sinks(model, pixels):
    norms = model.model.visual_states(pixels).detach().norm(dim=-1)
    model.config.tau = float(norms.quantile(0.65))
    return model.model.see(pixels).sinks


def test_with_sinks_told_apart_tied_parts_answer_as_the_checkpoint_to_the_bit(llava):
    stock = LlavaForConditionalGeneration.from_pretrained(llava).eval()
    made = from_llava(llava, None, arrangement="natural")
    inputs = asked(made.processor)
    sinks = with_sinks(made.model, inputs["pixel_values"])
    assert sinks.any()
    assert not sinks.all()
    choice = Choice.of(["both", "both"])
    true = inputs["attention_mask"].bool()
    logits = made.model(**inputs, choice=choice).logits
    assert torch.equal(logits[true], stock(**inputs).logits[true])


def test_a_converted_model_saves_and_loads_as_its_own_kind(one, tmp_path):
    made = diysink.from_llava(one, None)
    made.save(tmp_path)
    again = diysink.model.load(tmp_path)
    inputs = asked(AutoProcessor.from_pretrained(tmp_path))
    assert torch.equal(again.model(**inputs).logits, made.model(**inputs).logits)
    assert again.model.config.model_type == "diysink"
    answer = again.answer([Image.new("RGB", (12, 12))], ["a b"])
    assert len(answer) == 1


@pytest.mark.parametrize("settings", [True, False])
def test_the_files_of_older_repositories_are_read(one, tmp_path, settings):
    """Image processor and chat template in files of their own, the processor's there or not."""
    shutil.copytree(one, tmp_path, dirs_exist_ok=True)
    (tmp_path / "chat_template.jinja").unlink()
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    written = json.loads((tmp_path / "processor_config.json").read_text())
    picture = written.pop("image_processor") | {"image_processor_type": "CLIPImageProcessor"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(picture))
    (tmp_path / "processor_config.json").unlink()
    if settings:
        (tmp_path / "processor_config.json").write_text(json.dumps(written))
    old, new = from_llava(tmp_path, None), from_llava(one, None)
    assert old.processor.chat_template == new.processor.chat_template
    mine, again = asked(old.processor), asked(new.processor)
    assert all(torch.equal(mine[name], again[name]) for name in mine)


@pytest.mark.parametrize(
    ("changes", "differ"),
    [({"projector_hidden_act": "relu"}, True), ({"multimodal_projector_bias": False}, False)],
)
def test_a_projector_of_another_make_is_taken_as_it_is(tmp_path, bare, changes, differ):
    folder = write(tmp_path, "clip", "llama", bare, **changes)
    stock = LlavaForConditionalGeneration.from_pretrained(folder).eval()
    made = from_llava(folder, None, connector="single")
    inputs = asked(made.processor)
    true = inputs["attention_mask"].bool()
    logits = made.model(**inputs).logits
    assert torch.equal(logits[true], stock(**inputs).logits[true])
    assert (made.model.model.multi_modal_projector.linear_1.bias is None) != differ


def test_half_precision_is_kept(tmp_path, one):
    LlavaForConditionalGeneration.from_pretrained(one, dtype=torch.bfloat16).save_pretrained(
        tmp_path
    )
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(one / name, tmp_path)
    made = from_llava(tmp_path, None)
    assert {p.dtype for p in made.model.parameters()} == {torch.bfloat16}
    assert from_llava(tmp_path, None, dtype="float32").model.dtype == torch.float32


def profile_of(folder, tau=3.0, layer=-2):
    tower = LlavaForConditionalGeneration.from_pretrained(folder).model.vision_tower
    return SinkProfile(
        encoder=Encoder.of(tower, layer).identity, tau=tau, method="fixed", interval=None,
        found=True, evidence=(), sink_dimensions=(), edges=(0.0, 1.0), histogram=(1,),
        sinks_per_image=(1,), grid=(3, 3), settings={},
    )  # fmt: skip


def test_a_profile_gives_tau_and_must_be_the_encoders(one, tmp_path, bare):
    assert from_llava(one, profile_of(one)).model.config.threshold == Threshold(3.0)
    relative = replace(profile_of(one), relative=True)
    made = from_llava(one, relative).model.config.threshold
    assert made == relative.threshold == Threshold(3.0, relative=True)
    with pytest.raises(ProfileMismatchError, match="layer 1"):
        from_llava(one, profile_of(one, layer=1))


def edit(folder, to, **changes):
    shutil.copytree(folder, to, dirs_exist_ok=True)
    config = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(config | changes))
    return to


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vision_feature_layer": [-2, -1]}, "one vision_feature_layer"),
        ({"vision_feature_select_strategy": "full"}, "keeps every token"),
        ({"model_type": "llava_next"}, "is a 'llava_next' model"),
        ({"image_token_index": 5}, "writes <image> as 3"),
    ],
)
def test_what_would_not_answer_the_same_is_refused(one, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        from_llava(edit(one, tmp_path, **changes), None)


def test_siglip_without_its_first_patch_is_refused(tmp_path, bare):
    folder = write(tmp_path / "a", "siglip", "phi", bare)
    with pytest.raises(ValueError, match="drops the first token"):
        from_llava(edit(folder, tmp_path / "b", vision_feature_select_strategy="default"), None)


def test_pickles_are_refused_with_what_to_do(one, tmp_path):
    shutil.copytree(one, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model.bin, which loading would unpickle.*save"):
        from_llava(tmp_path, None)


def test_a_checkpoint_without_some_weights_is_refused(one, tmp_path):
    shutil.copytree(one, tmp_path, dirs_exist_ok=True)
    weights = load_file(one / "model.safetensors")
    del weights["multi_modal_projector.linear_1.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 weights .*multi_modal_projector.linear_1"):
        from_llava(tmp_path, None)


def test_connectors_that_llava_has_no_weights_for_are_refused(one):
    with pytest.raises(ValueError, match="connector 'resampler' has no weights"):
        from_llava(one, None, connector="resampler")
