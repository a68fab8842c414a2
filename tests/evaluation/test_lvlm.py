"""Any vision-language model, asked through its own processor, stock and changed."""

import copy
import json
import shutil
from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from diysink.evaluation.benchmarks import BENCHMARKS, Benchmark
from diysink.evaluation.lvlm import LVLM, load_lvlm
from diysink.evaluation.lvlm_changed import changed
from diysink.evaluation.predict import Replies, predict
from diysink.interventions import Drop, Keep, RandomMatched, Reposition, encoder_identity, intervene
from diysink.records import Record, Records, Turn
from diysink.sinks import (
    CalibrationSettings,
    ProfileMismatchError,
    calibrate,
    measure_norms,
    token_norms,
)
from tests.evaluation import lvlms
from tests.evaluation.lvlms import PICTURES, picture, questions
from tests.tiny_models import assemble_tiny

MAKERS = {"llava": lvlms.llava, "llava_next": lvlms.llava_next, "idefics3": lvlms.idefics3}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    made = {name: make(root / name) for name, make in MAKERS.items()}
    made["planted"] = lvlms.llava(root / "planted", lvlms.steep)
    return made


@pytest.fixture(scope="module")
def loaded(folders):
    return {
        name: load_lvlm(folder, dtype=torch.float32, max_new_tokens=3)
        for name, folder in folders.items()
    }


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return Records(lvlms.splits(tmp_path_factory.mktemp("records")) / "test")


GAP = CalibrationSettings()


def profile_of(lvlm, tau=None, calibration=GAP):
    """Calibrated on all pictures; with a tau, that one."""
    images = [picture(number) for number in range(PICTURES)]
    layout = calibration.layout(replicates=50)
    norms = measure_norms(layout, lvlm.norms(images), [image.sha256 for image in images])
    found = calibrate(norms, encoder_identity(lvlm.model), calibration)
    return found if tau is None else replace(found, tau=tau)


def with_some_sinks(lvlm):
    """A profile whose tau makes a tenth of the tokens sinks."""
    norms = torch.cat(lvlm.norms([picture(number) for number in range(PICTURES)]))
    return profile_of(lvlm, float(norms.nanquantile(0.9)))


def answers(lvlm, change, profile, records=None):
    with changed(lvlm, change, profile) as model:
        return model.answer(records or questions()[:10])


@pytest.mark.parametrize("name", MAKERS)
def test_stock_is_what_a_user_of_transformers_gets_one_by_one(loaded, name):
    """No padding, no batch, no room of ours: the same answers."""
    lvlm = loaded[name]
    asked = questions()[:6]
    batch = lvlm.answer(asked)
    for place, record in enumerate(asked):
        content = [{"type": "image", "image": record.images[0].open()}]
        content.append({"type": "text", "text": record.conversations[0].text.split("\n")[1]})
        inputs = lvlm.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        sequence = lvlm.model.generate(**inputs, do_sample=False, max_new_tokens=3, pad_token_id=0)
        text = lvlm.processor.decode(
            sequence[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        assert batch.texts[place] == text
        assert batch.visual_tokens[place] == (inputs["input_ids"] == lvlms.IMAGE).sum()
    assert len(set(batch.texts)) > 1


def test_twice_gives_the_same_though_the_model_would_sample(loaded):
    lvlm = loaded["llava"]
    assert lvlm.model.generation_config.do_sample
    assert lvlm.answer(questions()).texts == lvlm.answer(questions()).texts


@pytest.mark.parametrize("name", MAKERS)
def test_norms_of_a_picture_do_not_depend_on_the_batch(loaded, name):
    """Pictures of different numbers of tokens and tiles; each gets its own."""
    lvlm = loaded[name]
    images = [picture(number) for number in range(6)]
    together = lvlm.norms(images)
    for image, norms in zip(images, together, strict=True):
        torch.testing.assert_close(norms, lvlm.norms([image])[0], equal_nan=True)
    sizes = {len(norms) for norms in together}
    assert sizes == {16} if name == "llava" else len(sizes) > 1


def test_planted_sinks_are_found_with_the_right_tau_and_none_in_the_plain_model(loaded):
    planted, plain = profile_of(loaded["planted"]), profile_of(loaded["llava"])
    norms = torch.cat(loaded["planted"].norms([picture(number) for number in range(PICTURES)]))
    true = norms > 25  # the planted vector has a norm of 50, the others stay below 5
    assert 20 < true.sum() < 60
    assert norms[~true].max() < planted.tau <= norms[true].min()
    assert planted.verdict == "found by norms alone"
    assert sum(n * images for n, images in enumerate(planted.sinks_per_image)) == true.sum()
    assert (plain.tau, plain.verdict) == (None, "no credible sinks")
    drop = CalibrationSettings(method="drop")
    relative = profile_of(loaded["planted"], calibration=drop)
    assert relative.relative
    assert relative.sinks_per_image == planted.sinks_per_image
    assert profile_of(loaded["llava"], calibration=drop).tau is None


@pytest.mark.parametrize("name", [*MAKERS, "planted"])
def test_an_intervention_is_that_of_the_room_and_the_model_is_stock_again_after(loaded, name):
    lvlm = loaded[name]
    profile, asked = with_some_sinks(lvlm), questions()[:10]
    before = lvlm.answer(asked)
    front = answers(lvlm, Reposition("front"), profile, asked)
    with intervene(lvlm.model, Reposition("front"), tau=profile.tau):
        assert lvlm.answer(asked).texts == front.texts
    assert front.texts != before.texts
    assert front.visual_tokens == before.visual_tokens
    assert lvlm.answer(asked).texts == before.texts == answers(lvlm, None, profile, asked).texts


@pytest.mark.parametrize("name", [*MAKERS, "planted"])
def test_visual_tokens_are_those_that_the_language_model_sees(loaded, name):
    lvlm = loaded[name]
    profile, asked = with_some_sinks(lvlm), questions(1)
    norms = lvlm.norms([record.images[0] for record in asked])
    every = [len(one) for one in norms]
    assert lvlm.answer(asked).visual_tokens == every
    without = answers(lvlm, Drop("sink"), profile, asked).visual_tokens
    if name == "idefics3":  # every tile is an image: one without sinks keeps all its tokens
        assert all(0 < left <= all_ for left, all_ in zip(without, every, strict=True))
    else:
        sinks = [int((one >= profile.tau).sum()) for one in norms]
        assert without == [a - s for a, s in zip(every, sinks, strict=True)]
    assert without != every


def test_no_sinks_no_change(loaded):
    lvlm = loaded["llava"]
    nothing = profile_of(lvlm, 1e9)
    for change in (Reposition("front"), Keep("sink"), RandomMatched(Reposition("front"))):
        assert answers(lvlm, change, nothing).texts == lvlm.answer(questions()[:10]).texts


def test_another_models_profile_is_refused(loaded):
    profile = with_some_sinks(loaded["planted"])
    with pytest.raises(ProfileMismatchError):
        answers(loaded["llava"], Reposition("front"), profile)


def test_a_model_whose_positions_are_coordinates():
    """Qwen2.5-VL: its image processor, pictures of any size, patches merged two by two."""
    lvlm = lvlms.qwen()
    asked = questions(1)[:6]
    stock = lvlm.answer(asked)
    assert stock.visual_tokens == [8, 4, 4, 8, 4, 8]
    assert stock.texts == lvlm.answer(asked).texts
    profile = with_some_sinks(lvlm)
    assert [len(one) for one in lvlm.norms([r.images[0] for r in asked])] == stock.visual_tokens
    assert answers(lvlm, Keep("nonsink"), profile, asked).visual_tokens != stock.visual_tokens
    front = answers(lvlm, Reposition("front"), profile, asked)
    assert front.texts != stock.texts


def test_a_diysink_model_goes_by_its_own_sinks(parts, tmp_path):
    made = assemble_tiny(parts, connector="single", arrangement="natural")
    norms = token_norms(
        made.model.model.visual_states(made.image_processor([picture(i).open() for i in range(6)]))
    )
    made.model.config.tau = float(norms.quantile(0.8).detach())
    made.save(tmp_path / "model")
    lvlm = load_lvlm(tmp_path / "model", dtype=torch.float32, max_new_tokens=3)
    assert lvlm.knows_its_sinks
    records = questions(1)[:6]
    profile = profile_of(lvlm, 1e9)  # which is not looked at
    assert lvlm.answer(records).visual_tokens == [9] * 6
    without = answers(lvlm, Drop("sink"), profile, records).visual_tokens
    norms = lvlm.norms([record.images[0] for record in records])
    sinks = [int((one >= made.model.config.tau).sum()) for one in norms]
    assert without == [9 - n for n in sinks]
    with pytest.raises(ValueError, match="use positions='reindex'"):
        answers(lvlm, Reposition("front", "carry"), profile, records)


def test_the_table_has_a_row_for_each_question(loaded, split):
    lvlm = loaded["llava"]
    table = predict(lvlm, split, benchmark=Benchmark("test"), variant="stock", batch=7)
    assert list(table["id"]) == [record.id for record in split]
    assert table["visual_tokens"].unique().tolist() == [16]
    assert table["route"].unique().tolist() == ["both"]
    assert (table[["weight_sink", "weight_nonsink"]] == 1).all(axis=None)
    assert table["question"][0] == "a"
    assert list(table["correct"]) == list(table["prediction"] == table["reference"])
    contains = Benchmark("test", metric="contains")
    generous = predict(lvlm, split, benchmark=contains, variant="stock", batch=7)
    assert generous["correct"].sum() > table["correct"].sum()
    assert set(generous["metric"]) == {"contains"}


def test_what_is_no_question_is_refused(loaded):
    with pytest.raises(ValueError, match="has 0 images"):
        loaded["llava"].answer([Record("x", (), (Turn("human", "a"), Turn("gpt", "b")))])


def test_a_processor_of_another_model_is_noticed(loaded):
    processor = copy.copy(loaded["llava"].processor)
    processor.patch_size = 8
    lvlm = LVLM(loaded["llava"].model, processor)
    with pytest.raises(ValueError, match="The processor is not this model's"):
        lvlm.norms([picture(0)])


def test_what_cannot_be_asked_is_refused_before_it_is_loaded(folders, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "fuyu"}))
    with pytest.raises(ValueError, match="model_type 'fuyu'"):
        load_lvlm(other)
    with pytest.raises(FileNotFoundError, match="no folder"):
        load_lvlm(tmp_path / "nowhere")


def test_no_chat_template_no_question(tmp_path):
    with pytest.raises(ValueError, match="has no chat template"):
        load_lvlm(lvlms.llava(tmp_path / "base", template=None))


def test_missing_weights_are_not_made_up(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(folders["llava"], broken)
    weights = load_file(broken / "model.safetensors")
    name = next(name for name in weights if "linear_2.weight" in name)
    del weights[name]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks 1 weights"):
        load_lvlm(broken)


def without(folder, to, *settings, file="processor_config.json"):
    """A copy of a model's folder whose processor does not say some things."""
    shutil.copytree(folder, to)
    written = json.loads((to / file).read_text())
    for name in settings:
        del written[name]
    (to / file).write_text(json.dumps(written))
    return to


@pytest.mark.parametrize("name", ["llava", "llava_next"])
@pytest.mark.parametrize(
    "settings",
    [
        ("patch_size",),
        ("patch_size", "num_additional_image_tokens", "vision_feature_select_strategy"),
        ("num_additional_image_tokens",),
    ],
)
def test_what_an_older_processor_leaves_out_is_the_models(
    folders, loaded, tmp_path, name, settings
):
    older = load_lvlm(
        without(folders[name], tmp_path / "older", *settings), dtype=torch.float32, max_new_tokens=3
    )
    assert older.processor.patch_size == 4
    asked = questions(1)[:6]
    mine, theirs = older.answer(asked), loaded[name].answer(asked)
    assert mine.texts == theirs.texts
    assert mine.visual_tokens == theirs.visual_tokens


def test_a_processor_file_that_is_not_there_at_all(folders, loaded, tmp_path):
    """Image processor and chat template in files of their own, as in older repositories."""
    older = tmp_path / "older"
    shutil.copytree(folders["llava"], older)
    picture = json.loads((older / "processor_config.json").read_text())["image_processor"]
    (older / "preprocessor_config.json").write_text(json.dumps(picture))
    (older / "processor_config.json").unlink()
    asked = questions(1)[:6]
    lvlm = load_lvlm(older, dtype=torch.float32, max_new_tokens=3)
    assert lvlm.answer(asked).texts == loaded["llava"].answer(asked).texts


def asking(text, image=1, name="long"):
    return Record(name, (picture(image),), (Turn("human", f"<image>\n{text}"), Turn("gpt", "a")))


@pytest.mark.parametrize("name", MAKERS)
def test_a_question_is_cut_to_the_positions_that_are_left(loaded, name):
    lvlm = loaded[name]
    most = lvlm.model.config.get_text_config().max_position_embeddings
    short, long = asking("a b", 3, "short"), asking(" ".join("abcdefgh" * 200))
    replies = lvlm.answer([short, long])
    assert list(replies.cut) == [False, True]
    # As the longest beginning by itself.
    words = long.conversations[0].text.split()[1:]
    for count in range(most, 0, -1):
        kept = asking(" ".join(words[:count]))
        inputs = lvlm.inputs([kept.images[0]], [" ".join(words[:count])])
        if inputs["input_ids"].shape[1] <= most - 3:
            break
    expected = lvlm.answer([short, kept])
    assert replies.texts == expected.texts
    assert list(expected.cut) == [False, False]


def test_what_was_cut_is_counted_and_named_in_the_log(loaded, tmp_path, caplog):
    from diysink.records import write_shards

    write_shards(tmp_path / "test", [asking("a", name="x"), asking("a b " * 600, name="y")])
    table = predict(
        loaded["llava"],
        Records(tmp_path / "test"),
        benchmark=Benchmark("test"),
        variant="stock",
        batch=2,
    )
    said = [one.args for one in caplog.records if one.name == "diysink.evaluation.predict"]
    assert said == [("stock", 1, 2, "y")]
    assert len(table["question"][1]) > 2000


def test_no_room_for_any_question_names_the_record(loaded):
    lvlm = copy.copy(loaded["llava"])
    lvlm.generation = copy.deepcopy(lvlm.generation)
    most = lvlm.model.config.get_text_config().max_position_embeddings
    lvlm.generation.max_new_tokens = most - 10
    with pytest.raises(ValueError, match=r"record 'long'.* room for 10 "):
        lvlm.answer([asking("a")])


def test_a_question_about_several_images(loaded):
    """Asked as the placeholders stand, and answered as by transformers' own; not to one for one."""
    lvlm = loaded["llava_next"]
    images = tuple(lvlms.picture(number) for number in range(2))
    text = "a <image> b <image> c"
    record = Record("two", images, (Turn("human", text), Turn("gpt", "d")))
    content = [
        {"type": "text", "text": "a "},
        {"type": "image", "image": images[0].open()},
        {"type": "text", "text": " b "},
        {"type": "image", "image": images[1].open()},
        {"type": "text", "text": " c"},
    ]
    stock = lvlm.processor.apply_chat_template(
        [[{"role": "user", "content": content}]],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    ours = lvlm.inputs([images], [text])
    assert ours["input_ids"].equal(stock["input_ids"])
    assert ours["pixel_values"].equal(stock["pixel_values"])
    replies = lvlm.answer([record, lvlms.questions(1)[0]])
    assert replies.visual_tokens[0] > replies.visual_tokens[1]
    one = lvlm.answer([record])
    assert one.texts[0] == replies.texts[0]
    assert one.log_likelihoods[0] == pytest.approx(replies.log_likelihoods[0], abs=1e-5)


def test_several_images_are_not_shown_to_a_model_that_takes_one(tmp_path):
    class OneImage:
        several_images = False
        asked: ClassVar[list] = []

        def answer(self, records, max_new_tokens=None):
            self.asked += [record.id for record in records]
            return Replies(["right"] * len(records))

    images = tuple(lvlms.picture(number) for number in range(2))
    answer = Turn("gpt", "right")
    records = [
        Record("one", images[:1], (Turn("human", "<image>a"), answer)),
        Record("two", images, (Turn("human", "<image>a<image>"), answer)),
    ]
    table = predict(OneImage(), records, benchmark=BENCHMARKS["test"], variant="v", batch=2)
    assert OneImage.asked == ["one"]
    assert table["prediction"].tolist() == ["right", ""]
    assert table["correct"].tolist() == [1, 0]


def test_a_question_about_several_images_is_never_cut(loaded):
    """A part of its text may have lost an image: the record is named instead."""
    images = tuple(lvlms.picture(number) for number in range(2))
    text = "<image> a <image> " + "b " * 2000
    record = Record("two-long", images, (Turn("human", text), Turn("gpt", "d")))
    with pytest.raises(ValueError, match="record 'two-long': its images and its question"):
        loaded["llava"].answer([record])
