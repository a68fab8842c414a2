"""A fine-tuned model as an answering model: images are encoded once, with the same answers."""

import dataclasses

import pytest
import torch

from diysink.evaluation.benchmarks import Benchmark
from diysink.evaluation.finetuned import EncodedImages, FineTunedModel
from diysink.evaluation.predict import AnsweringModel, predict
from diysink.model import CachedScorer, selections_of
from diysink.model.questions import question_batch
from diysink.records import Turn
from diysink.selection import CoTTrueSelection, FixedSelection
from tests.tiny_models import tiny_generator

BENCHMARK = Benchmark("test")
TOKENS = 9


@pytest.fixture
def records(tiny_records):
    return [
        dataclasses.replace(record, conversations=record.conversations[:2])
        for record in tiny_records
    ]


def answered(model, records):
    return predict(model, records, benchmark=BENCHMARK, variant="v", batch=5)


def test_variants_share_encoded_images_and_answer_as_without(parts, records):
    generator = tiny_generator(parts, sinks=0.5, max_new_tokens=3)
    batches = -(-len(records) // 5)
    shared = EncodedImages()
    for selection in selections_of(generator.model, generator.chat_encoder).values():
        generator.selection = selection
        model = FineTunedModel(generator, shared)
        assert isinstance(model, AnsweringModel)
        table = answered(model, records)
        alone = answered(FineTunedModel(generator), records)
        unshared = [
            text
            for start in range(0, len(records), 5)
            for text in generator.answer_batch(
                question_batch(generator, records[start : start + 5])
            ).texts
        ]
        assert table.equals(alone)
        assert table["prediction"].tolist() == unshared
        assert shared.encoded == batches


def test_another_connector_has_its_own_tokens_and_the_same_states(parts, records):
    first, second = (tiny_generator(parts, sinks=0.5, max_new_tokens=3) for _ in range(2))
    with torch.no_grad():
        for weight in second.model.model.multi_modal_projector.parameters():
            weight.mul_(3).add_(0.1)
    shared = EncodedImages()
    answered(FineTunedModel(first, shared), records)
    encoded = shared.encoded
    shown = shared.questions(second, records[:5]).visual
    assert shared.encoded == encoded  # the encoder is the same
    own = second.model.visual_tokens(question_batch(second, records[:5]))
    assert torch.equal(shown.features, own.features)
    with torch.no_grad():
        next(second.model.model.vision_tower.parameters()).add_(1)
    third = tiny_generator(parts, sinks=0.5)
    third.model.model.vision_tower.load_state_dict(second.model.model.vision_tower.state_dict())
    shared.questions(third, records[:5])
    assert shared.encoded == encoded + 1  # another encoder is encoded with


def test_questions_of_two_benchmarks_that_have_the_same_ids_are_told_apart(parts, records):
    """Another question, another image, another group: none is answered from what was kept."""
    generator = tiny_generator(parts, sinks=0.5, max_new_tokens=3)
    first, second = records[0], next(r for r in records if r.images != records[0].images)
    asked = Turn("human", "<image>\na b c d")
    others = (
        dataclasses.replace(first, conversations=(asked, first.conversations[1])),
        dataclasses.replace(first, images=second.images),
        dataclasses.replace(first, group="another"),
    )
    shared = EncodedImages()
    shared.questions(generator, [first])
    for other in others:
        kept, own = shared.questions(generator, [other]), question_batch(generator, [other])
        assert (kept.texts, kept.images, kept.groups) == (own.texts, own.images, own.groups)
        assert torch.equal(kept.visual.features, generator.model.visual_tokens(own).features)


def test_nothing_is_kept_beyond_the_limit(parts, records):
    generator = tiny_generator(parts, sinks=0.5, max_new_tokens=2)
    none = EncodedImages(limit=0)
    tables = [answered(FineTunedModel(generator, none), records) for _ in range(2)]
    assert tables[0].equals(tables[1])
    assert none.encoded == 2 * -(-len(records) // 5)


def test_a_scorer_reads_the_tokens_that_the_batch_holds(parts, records):
    generator = tiny_generator(parts, sinks=0.5)
    questions = EncodedImages().questions(generator, records[:3])
    blind = dataclasses.replace(questions, pixel_values=None)
    from diysink.selection import CoTTemplates

    choices = CoTTemplates("a b", ("c", "d"), "e {question}", ("f", "g")).multiple_choices(blind)
    if not CachedScorer.serves(generator.model):
        pytest.skip("prefixes of this model cannot be shared")
    scorer = CachedScorer(generator.model, generator.chat_encoder)
    told = [scorer(batch, choices).log_likelihoods for batch in (blind, questions)]
    assert all(torch.equal(a, b) for a, b in zip(*told, strict=True))


def test_random_matched_tokens_are_as_many_as_the_sinks(parts, records):
    generator = tiny_generator(parts, sinks=0.3, max_new_tokens=2)
    seen = {}
    for route in ("sink", "nonsink"):
        generator.selection = FixedSelection(route)
        seen[route, None] = answered(FineTunedModel(generator), records)["visual_tokens"]
        control = FineTunedModel(generator, random_matched=0)
        seen[route, 0] = answered(control, records)["visual_tokens"]
    assert seen["sink", 0].tolist() == seen["sink", None].tolist()
    assert seen["nonsink", 0].tolist() == seen["nonsink", None].tolist()
    assert (seen["sink", 0] < TOKENS).any()


def test_a_control_is_told_what_is_true_and_the_table_what_was_said(parts, records):
    generator = tiny_generator(parts, sinks=0.5, max_new_tokens=2)
    asked = [dataclasses.replace(record, group="global") for record in records[:4]]
    simple = {record.images[0].sha256: bool(i) for i, record in enumerate(asked[:2])}
    generator.selection = CoTTrueSelection()
    table = answered(FineTunedModel(generator, simple=simple), asked)
    assert table["route"].tolist() == ["both", "sink", "both", "both"]
    assert table["simple"].tolist() == [False, True, None, None]
    assert table["cot_image"].fillna("").tolist() == ["complex", "simple", "", ""]
    assert set(table["cot_scope"]) == {"whole"}
    generator.selection = None
    plain = answered(FineTunedModel(generator, simple=simple), asked)
    assert plain["simple"].tolist() == [False, True, None, None]
    assert plain[["cot_image", "cot_scope"]].isna().all(axis=None)
    assert plain["log_likelihood"].lt(0).all()


def test_a_benchmarks_length_limit_ends_with_it(parts, records):
    """Two benchmarks, the first with a limit of its own: the second has the run's again."""
    generator = tiny_generator(parts, sinks=0.5, max_new_tokens=3)
    model = FineTunedModel(generator, likelihoods=False)
    own = model.answer(records[:4]).texts
    model.answer(records[:4], 1)
    assert generator.max_new_tokens == 3
    assert model.answer(records[:4]).texts == own
