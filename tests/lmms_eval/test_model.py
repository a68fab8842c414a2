"""The plugin's models on tiny ones; of lmms-eval a stand-in for its base class alone.

That lmms-eval itself gets the same answers is shown by ``benchmarks/lmms_eval_run.py``.
"""

import importlib
import sys
from dataclasses import dataclass
from types import ModuleType

import pytest
import torch

from diysink.evaluation.lvlm import load_lvlm
from diysink.interventions import Reposition, intervene
from diysink.lmms_eval.answering import answering
from diysink.model import load
from diysink.records import question_of
from tests.evaluation import lvlms
from tests.tiny_models import assemble_tiny

FRONT = {"intervention": "reposition", "where": "front"}
SHORT = {"max_new_tokens": 3, "temperature": 0}


class Base:
    """What `lmms_eval.api.model.lmms` has of use."""

    def __init__(self):
        self.task_dict, self.rank = {}, 0

    def clean(self):
        pass


@dataclass
class Result:
    text: tuple


@dataclass
class Request:
    args: tuple


@pytest.fixture
def plugin(monkeypatch):
    """The module with the two models."""
    for name in (
        "lmms_eval",
        *(f"lmms_eval.{part}" for part in ("api", "api.instance", "api.model")),
    ):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["lmms_eval.api.model"].lmms = Base
    sys.modules["lmms_eval.api.instance"].GenerationResult = Result
    monkeypatch.delitem(sys.modules, "diysink.lmms_eval.model", raising=False)
    yield importlib.import_module("diysink.lmms_eval.model")
    sys.modules.pop("diysink.lmms_eval.model", None)


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    return lvlms.llava(tmp_path_factory.mktemp("models") / "llava", lvlms.steep)


@pytest.fixture(scope="module")
def ours(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "ours"
    assembled = assemble_tiny(parts, connector="dual")
    assembled.model.config.tau = 1.0
    assembled.save(folder)
    return folder


def documents(records):
    return {
        "task": {
            "test": [
                {"shown": [image.open() for image in record.images], "asked": question_of(record)}
                for record in records
            ]
        }
    }


def requests(records, settings=SHORT, *, chat=False):
    def messages(document):
        said = [{"type": "image", "url": one} for one in document["shown"]]
        said.append({"type": "text", "text": document["asked"]})
        return [{"role": "user", "content": said}]

    def visuals(document):
        return document["shown"]

    return [
        Request(
            (question_of(record), messages, settings, row, "task", "test")
            if chat
            else (question_of(record), settings, visuals, row, "task", "test")
        )
        for row, record in enumerate(records)
    ]


def made(plugin, kind, folder, records, **arguments):
    model = getattr(plugin, kind)(str(folder), batch_size="4", dtype="float32", **arguments)
    model.task_dict = documents(records)
    return model


@pytest.mark.parametrize("kind", ["DIYSink", "DIYSinkChat"])
def test_answers_are_those_of_our_own_evaluation_in_the_order_of_requests(plugin, stock, kind):
    records = lvlms.questions()[:10]
    expected = load_lvlm(stock, dtype=torch.float32, max_new_tokens=3).answer(records).texts
    model = made(plugin, kind, stock, records)
    asked = requests(records, chat=kind == "DIYSinkChat")
    assert model.generate_until(asked) == expected
    assert len(set(expected)) > 1


def test_the_intervention_is_around_the_model_until_it_is_cleaned(plugin, stock):
    records = lvlms.questions()
    lvlm = load_lvlm(stock, dtype=torch.float32, max_new_tokens=3)
    tau = float(torch.cat(lvlm.norms([r.images[0] for r in records])).quantile(0.9))
    with intervene(lvlm.model, Reposition("front"), tau=tau):
        expected = lvlm.answer(records).texts
    model = made(plugin, "DIYSink", stock, records, tau=tau, **FRONT)
    inner = model._answering.loaded.model
    assert model.generate_until(requests(records)) == expected
    assert expected != lvlm.answer(records).texts
    model.clean()
    inner_answers = type(lvlm)(inner, lvlm.processor, max_new_tokens=3).answer(records).texts
    assert inner_answers == lvlm.answer(records).texts


def test_settings_are_kept_apart_and_texts_end_an_answer(plugin, stock):
    records = lvlms.questions()[:6]
    model = made(plugin, "DIYSink", stock, records)
    whole = model.generate_until(requests(records))
    end = whole[0].split()[1]
    mixed = requests(records, SHORT | {"until": [end]})[:3] + requests(records)[3:]
    answers = model.generate_until(mixed)
    assert answers[0] == whole[0].split(end)[0].strip()
    assert answers[3:] == whole[3:]
    short = model.generate_until(requests(records, SHORT | {"max_new_tokens": 1}))
    assert short == [answer.split()[0] for answer in whole]


def test_selections_of_a_diysink_model(plugin, ours, tiny_records):
    records = [tiny_records[i] for i in range(4)]
    records = [
        type(record)(record.id, record.images, record.conversations[:2]) for record in records
    ]
    for selection in ("both", "sink", "nonsink"):
        generator = load(ours)
        generator.max_new_tokens = 3
        with answering(str(ours), selection=selection, dtype="float32") as found:
            found.set(max_new_tokens=3, likelihoods=False)
            routes = found.model.answer(records).routes
            texts = found.model.answer(records).texts
        if selection == "both":
            assert texts == generator.answer(
                [r.images[0].open() for r in records], [question_of(r) for r in records]
            )
            assert set(routes) == {"both"}
        model = made(plugin, "DIYSinkChat", ours, records, selection=selection)
        assert model.generate_until(requests(records, chat=True)) == texts


def test_what_a_model_is_not_asked_has_an_empty_answer(plugin, ours, stock, caplog):
    one, two = lvlms.questions()[0], lvlms.questions()[3]
    both = type(one)("both", one.images + two.images, one.conversations)
    both = type(one)(
        "both",
        both.images,
        (type(one.conversations[0])("human", "<image> <image> a"), one.conversations[1]),
    )
    none = Request(("a", SHORT, lambda document: None, 0, "task", "test"))
    model = made(plugin, "DIYSink", stock, [one, both])
    first, second, third = model.generate_until([*requests([one, both]), none])
    assert first
    assert second
    assert third == ""
    assert "0 images" in caplog.text
    model = made(plugin, "DIYSink", ours, [one, both])
    assert model.generate_until(requests([one, both]))[1] == ""


def test_continuations_have_the_loss_of_our_own_likelihood(plugin, stock):
    records = lvlms.questions()[:5]
    lvlm = load_lvlm(stock, dtype=torch.float32, max_new_tokens=3)
    likely = lvlm.answer(records).log_likelihoods
    model = made(plugin, "DIYSink", stock, records)
    asked = [
        Request((r.args[0], f" {record.conversations[1].text}", *r.args[2:]))
        for r, record in zip(requests(records), records, strict=True)
    ]
    found = [result.text for result in model.loglikelihood(asked)]
    assert [loss for loss, _ in found] == pytest.approx([-one for one in likely], rel=1e-5)
    assert not any(greedy for _, greedy in found)
    with pytest.raises(ValueError, match="acc_mutual_info"):
        model.loglikelihood([Request(("", "red"))])
    nothing = Request(("a", "red", lambda document: None, 0, "task", "test"))
    with pytest.raises(ValueError, match="task/test/0"):
        model.loglikelihood([nothing])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"batch_size": "auto"}, "auto"),
        ({"batch_size": 0}, "batch_size"),
        ({"dtype": "int8"}, "int8"),
        ({"intervention": "shuffle"}, "shuffle"),
        ({"where": "front"}, "none"),
        (FRONT | {"how": "fast"}, "how"),
        (FRONT, "profile"),
        ({"tau": 100.0}, "intervention"),
        ({"selection": "sink"}, "selection"),
    ],
)
def test_arguments_that_do_not_exist_or_do_not_fit_are_refused(plugin, stock, arguments, named):
    with pytest.raises(ValueError, match=named):
        plugin.DIYSink(str(stock), **arguments)


def test_selections_of_our_model_that_need_labels_or_meet_an_intervention_are_refused(plugin, ours):
    for given in ({"selection": "oracle"}, {"selection": "sink", **FRONT}):
        with pytest.raises(ValueError, match="selection"):
            plugin.DIYSink(str(ours), **given)


def test_dialogues_of_several_rounds_are_refused(plugin, stock):
    with pytest.raises(NotImplementedError, match="generate_until"):
        plugin.DIYSink(str(stock)).generate_until_multi_round([])
