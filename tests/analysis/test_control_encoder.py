"""Analyses find sinks in the encoder that has them, and not in the one that has none.

Two encoders are shipped: one whose sinks are induced (plain cells, loud, which carry what is true
of the whole picture), and a control of the same architecture, pictures and attributes without
induction. In the control no token stands out, so its loudest are named sinks by force: as many as
the other encoder has. What an analysis says of sinks must then be true of the one and not of the
other. The models around the encoders (`tests.analysis.two_encoders`) are solved for by the same
recipe, which is never told which tokens are called sinks.

Where induction alone does not do what an analysis looks for (attention inside the encoder, a
massive dimension), the same head, or the same unit of the connector, is planted in both models:
it answers to what induced sinks are, and the control's loudest tokens are not that. Where the
control shows an effect too, the test says so: that effect is no sign of sinks. The taxonomy is
not here: it labels questions, not tokens.
"""

from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch

from diysink.analysis import Context, MassiveRule, Settings
from diysink.analysis.ablation import Ablation, AblationSettings
from diysink.analysis.attention import Attention, AttentionSettings
from diysink.analysis.attention_by_layer import AttentionByLayer
from diysink.analysis.attention_measures import RATIO, Measures
from diysink.analysis.criteria import Criteria
from diysink.analysis.dimensions import Dimensions, DimensionsSettings
from diysink.analysis.function import Function
from diysink.analysis.labels import BOX
from diysink.analysis.probes import Probes
from diysink.analysis.relevance import Relevance
from diysink.analysis.replacement import DIFFERENCE, Replacement, ReplacementSettings
from diysink.analysis.table import ALL, select
from diysink.analysis.weights import Weights, WeightsSettings
from diysink.analysis.words import Words
from diysink.evaluation.metrics import exact_match
from diysink.evaluation.random_matched import random_in_place_of_sinks
from diysink.miniature.dialogue import GLOBAL_SUBTASKS, global_words
from diysink.miniature.encoder import plain_cells
from diysink.miniature.world import GRID
from diysink.resampling import Bootstrap
from diysink.selection import FixedSelection, QuestionBatch
from diysink.sinks import (
    CalibrationSettings,
    Layout,
    attention_relative_to_even,
    calibrate,
    measure,
    patch_contrast,
)
from tests.analysis.batches import measured
from tests.analysis.two_encoders import IMAGES, LOUD, Pictures, Side, direction

OPTIONS = {"resamples": 300, "level": 0.95, "seed": 0}
CONTEXT = Context(Bootstrap(**OPTIONS), massive=MassiveRule())
EVERY = {"all": np.ones(IMAGES, dtype=np.bool_)}
RULE = MassiveRule()
SHARP = 40  # times the query of a planted head


@dataclass
class Pair:
    """The encoder with induced sinks, and the control whose loudest tokens are named sinks."""

    induced: Side
    control: Side

    def each(self, see):
        return see(self.induced), see(self.control)


def profile(side):
    """What calibration says of the encoder, from the pictures."""
    seen = side.observe()
    layout = Layout(GRID, GRID, seen.hidden.shape[-1], replicates=100)
    statistics = measure(
        layout,
        seen.hidden,
        attention_relative_to_even(seen.attention, seen.tokens),
        patch_contrast(side.pixels, GRID, GRID),
        side.shown.names,
    )
    identity = side.encoder.identity
    return calibrate(statistics, identity, CalibrationSettings())


def name_sinks(induced, control):
    """By the calibrated tau in the one, as many by force in the other."""
    induced.generator.model.config.tau = profile(induced).tau
    control.name_loudest(float(induced.sinks.float().mean()))
    return Pair(induced, control)


@pytest.fixture(scope="module")
def shown():
    return Pictures.of("test", IMAGES)


@pytest.fixture(scope="module")
def pair(shown):
    """Both with a connector that puts the cells into words."""
    made = name_sinks(Side.of("encoder", shown), Side.of("control", shown))
    made.each(Side.teach_words)
    return made


@pytest.fixture(scope="module")
def marked(pair):
    """The same, with a connector that tells in one dimension how far a token is above tau."""
    made = deepcopy(pair)
    made.each(Side.plant_dimension)
    return made


@pytest.fixture(scope="module")
def looking(shown):
    """Both with a head, in one block more, that looks for what induced sinks have in common."""
    loud = Side.of("encoder", shown)
    loud.generator.model.config.tau = profile(loud).tau
    towards = direction(loud.observe().hidden[loud.sinks])
    sides = Side.of("encoder", shown, -1), Side.of("control", shown, -1)
    for side in sides:
        side.plant_head(towards)
        side.name_loudest_of_each(loud.sinks.sum(1))
    return Pair(*sides)


def one(table, **where):
    """The one row of a table that has these values."""
    for name, value in where.items():
        table = table[table[name] == value]
    [row] = table.to_dict("records")
    return row


def test_calibration_finds_induced_sinks_where_they_are_and_none_in_the_control(pair):
    plain = torch.stack([plain_cells(scene) for scene in pair.induced.shown.scenes])
    found, control = pair.each(profile)
    assert found.found, found.reasons
    assert (pair.induced.sinks ^ plain).sum() <= 0.02 * plain.sum()
    assert not control.found
    assert {"populations", "norm", "stability"} <= {
        part.name for part in control.evidence if not part.passed
    }
    # What is named there by force is as many tokens, and not those.
    assert pair.control.sinks.sum() == pair.induced.sinks.sum()
    assert (pair.control.sinks & plain).sum() < plain.sum() / 10


def context(side, labels=None):
    labels = pd.DataFrame() if labels is None else labels
    tokenizer = side.generator.chat_encoder.tokenizer
    return Context(Bootstrap(**OPTIONS), massive=RULE, labels=labels, tokenizer=tokenizer)


def table_of(kind, side, labels=None, **settings):
    """The table of an analysis that looks at each image once."""
    names = side.shown.names
    analysis = kind(kind.settings_class(**settings), context(side, labels))
    questions = QuestionBatch(
        ("",) * len(names), tuple(names), (None,) * len(names), tuple(names), side.pixels
    )
    return analysis.summarize(measured(analysis, side.generator, questions))


def test_probes_read_the_whole_picture_from_induced_sinks_above_random_tokens(pair):
    """In the control any other token is a better source than the loudest."""
    rows = [
        (name, attribute, "global", word)
        for name, scene in zip(pair.induced.shown.names, pair.induced.shown.scenes, strict=True)
        for attribute, word in zip(GLOBAL_SUBTASKS, global_words(scene), strict=True)
    ]
    labels = pd.DataFrame(rows, columns=["image", "attribute", "scope", "label"])
    labels = labels.reindex(columns=[*labels.columns, *BOX])

    def contrast(side):
        table = table_of(Probes, side, labels, layers={"vit": [-1], "llm": []})
        of = {"group": "all", "scope": "global", "condition": "sink - random-matched"}
        return one(table, metric="accuracy", **of)

    induced, control = pair.each(contrast)
    assert induced["low"] > 0.2
    assert control["high"] < 0


def test_induced_sinks_name_the_scene_when_they_are_alone(pair):
    rows = [
        (name, "scene", word)
        for name, scene in zip(pair.induced.shown.names, pair.induced.shown.scenes, strict=True)
        for word in (scene.texture, f"{scene.texture}-scene")
    ]
    labels = pd.DataFrame(rows, columns=["image", "attribute", "label"])

    def naming(side):
        of = {"group": "all", "condition": "sink - random-matched", "control": "none - shuffled"}
        return one(table_of(Words, side, labels), metric="names its label", **of)

    induced, control = pair.each(naming)
    assert induced["low"] > 0.15
    assert control["low"] <= 0
    assert control["high"] < induced["low"]


def test_the_answer_attends_to_induced_sinks_above_all_other_tokens(pair):
    """As a ratio, in bins, as a curve and as a rank correlation; shuffled norms are the control."""

    def attended(side):
        analysis = Attention(AttentionSettings(bins=2), CONTEXT)
        rows = measured(analysis, side.generator, side.ask("scene")[0], max_new_tokens=1)
        return analysis.summarize(rows)

    induced, control = pair.each(attended)
    ratios = [
        one(t, metric="attention ratio", control="none", group="all") for t in (induced, control)
    ]
    # The control's loudest tokens, objects, get more than bare cells, too: no sign of sinks.
    assert ratios[0]["low"] > 10
    assert ratios[0]["low"] > 5 * ratios[1]["high"]
    (quiet, loud), (control_quiet, control_loud) = (
        t[(t["metric"] == "attention by norm") & (t["control"] == "none")].to_dict("records")
        for t in (induced, control)
    )
    assert loud["low"] > 4 * quiet["high"]
    assert loud["low"] / quiet["high"] > 3 * control_loud["high"] / control_quiet["low"]
    curves = [t[(t["metric"] == "attention curve") & (t["control"] == "none")]
              for t in (induced, control)]  # fmt: skip
    peaks = [curve["value"].iloc[-1] / curve["value"].median() for curve in curves]
    assert peaks[0] > 4 > 2 > peaks[1]
    true, shuffled = (
        one(induced, metric="spearman", control=c, group="all") for c in ("none", "shuffled")
    )
    assert true["low"] > max(0, shuffled["value"])
    assert one(control, metric="spearman", control="none", group="all")["value"] < true["low"]


def test_the_attention_is_in_the_middle_of_the_language_model_and_gone_with_a_shuffled_mask(pair):
    def by_layer(side):
        analysis = AttentionByLayer(Settings(), CONTEXT)
        rows = measured(analysis, side.generator, side.ask("scene")[0], max_new_tokens=1)
        return analysis.summarize(rows)

    for layer in (-1, 2):
        (sinks, shuffled), (control, other) = (
            [one(table, layer=layer, head=-1, condition="vsink", control=control)
             for control in ("none", "shuffled")] for table in pair.each(by_layer)
        )  # fmt: skip
        assert sinks["low"] > 2 * shuffled["high"]
        # The control's loudest tokens, objects, get more than others, too, but far less.
        assert sinks["low"] / shuffled["high"] > 1.5 * control["high"] / other["low"]


def test_more_attention_is_there_before_any_weight_and_weights_act_on_any_token(pair):
    """Weights on keys raise the attention to whatever is named: that is no sign of sinks."""

    def weighed(side):
        analysis = Weights(WeightsSettings(weights=(1.0, 4.0)), CONTEXT)
        rows = measured(analysis, side.generator, side.ask("scene")[0], max_new_tokens=1)
        return analysis.summarize(rows)

    induced, control = pair.each(weighed)
    before = [one(table, metric="attention share", condition="keys", weight=1.0)
              for table in (induced, control)]  # fmt: skip
    assert before[0]["low"] > before[1]["high"]
    for table in (induced, control):
        at_keys, at_connector = (
            one(table, metric="attention ratio", condition=place, weight=4.0)
            for place in ("keys", "connector")
        )
        assert at_keys["low"] > 2
        assert at_connector["high"] < 1.5


def test_without_the_contents_of_induced_sinks_the_scene_is_lost(pair):
    """In the control it is not: what is lost there is what its loudest tokens show, objects."""

    def lost(side):
        questions, answers = side.ask("scene", "colour")
        analysis = Replacement(ReplacementSettings(), Context(Bootstrap(**OPTIONS)))
        options = {"answers": answers, "max_new_tokens": 1}
        return analysis.summarize(measured(analysis, side.generator, questions, **options))

    induced, control = pair.each(lost)
    for contents in ("zero", "mean", "donor"):
        on_global = {"contents": contents, "group": "global"}
        true, forced = (
            one(table, metric="change", condition=DIFFERENCE, **on_global)
            for table in (induced, control)
        )
        assert true["high"] < -0.4
        assert one(induced, metric="baseline", **on_global)["value"] > 0.95
        assert forced["low"] > -0.3
        assert forced["high"] >= 0
        on_local = {"metric": "change", "condition": DIFFERENCE, "contents": contents}
        assert one(induced, group="local", **on_local)["value"] >= 0
        assert one(control, group="local", **on_local)["high"] < 0


def test_induced_sinks_alone_answer_for_the_whole_and_all_others_for_a_detail(pair):
    """The double dissociation and the gain over random tokens; in the control there is neither."""
    routes = ("both", "sink", "nonsink")

    def answers(side):
        asked, right = side.ask("scene", "colour")
        facts = {"id": asked.ids, "image": asked.images, "group": asked.groups, "seed": 0,
                 "benchmark": "test", "subtask": None}  # fmt: skip

        true = side.generator.model.visual_tokens(asked)
        arrangement = side.generator.model.config.arrangement
        random = random_in_place_of_sinks(true, asked.images, arrangement, 0)

        def told(variant, route, visual=true):
            side.generator.selection = FixedSelection(route)
            said = side.generator.answer_batch(replace(asked, visual=visual)).texts
            correct = [exact_match(*both) for both in zip(said, right, strict=True)]
            return pd.DataFrame(facts | {"variant": variant, "correct": correct})

        try:
            tables = [told(route, route) for route in routes]
            for route in routes[1:]:
                tables.append(told(f"{route}-random-matched", route, random))
        finally:
            side.generator.selection = None
        return pd.concat(tables, ignore_index=True)

    found = []
    for table in pair.each(answers):
        context = Context(Bootstrap(**OPTIONS), predictions=table)
        made = Ablation(AblationSettings(**{r: r for r in routes}), context).summarize(table[:0])
        over = {"metric": "over random-matched", "by": "group", "group": "global"}
        found.append((
            one(made, metric="dissociation", condition="global - local"),
            one(made, condition="sink", **over),
        ))  # fmt: skip
    (apart, alone), (control_apart, control_alone) = found
    assert apart["low"] > 0.8
    assert alone["low"] > 0.3
    assert control_apart["low"] < 0
    assert control_alone["low"] < 0


def test_a_dimension_planted_for_loudness_is_massive_at_induced_sinks_alone(marked):
    """That they differ from the first token is true of any visual tokens: no sign of sinks."""

    def dimensions(side):
        analysis = Dimensions(DimensionsSettings(), Context(Bootstrap(**OPTIONS), massive=RULE))
        rows = measured(analysis, side.generator, side.ask("scene")[0])
        table = analysis.summarize(rows.assign(checkpoint="solved"))
        return table, one(table, condition="vsink & first", sets="leading")["p_differ"]

    (induced, differ), (control, control_differ) = marked.each(dimensions)
    rows = induced[induced["massive"]]
    assert set(
        zip(rows["layer"], rows["condition"], rows["control"], rows["dimension"], strict=True)
    ) == {(0, "vsink", "none", LOUD)}
    assert not control["massive"].any()
    assert max(differ, control_differ) < 0.05


def test_criteria_agree_on_induced_sinks_with_that_dimension_and_on_nothing_in_the_control(marked):
    def criteria(side):
        analysis = Criteria(Settings(), Context(Bootstrap(**OPTIONS), massive=RULE))
        table = analysis.summarize(measured(analysis, side.generator, side.ask("scene")[0]))
        share = one(table, metric="share", where="vit", condition="norm")["value"]
        return one(table, metric="kappa", where="llm", layer=0, condition="norm & ratio"), share

    (induced, share), (control, forced) = marked.each(criteria)
    assert share == pytest.approx(forced)
    assert induced["low"] > 0.7
    assert control["high"] < induced["low"] / 2


def functions(side):
    analysis = Function(Settings(), Context(Bootstrap(**OPTIONS)))
    return analysis.summarize(measured(analysis, side.generator, side.ask("scene")[0]))


def test_a_planted_head_broadcasts_from_an_induced_sink_alone(looking):
    """So sharp a head attends to one token of any image: only in the one encoder to a sink."""

    def function(side):
        bias = side.encoder.blocks[-1].self_attn.q_proj.bias
        with torch.no_grad():
            bias[0] *= SHARP
            table = functions(side)
            bias[0] /= SHARP
        at = {"where": "vit", "layer": 3, "head": 0, "control": "none"}
        return {m: one(table, metric=m, **at) for m in ("event", "broadcast", "vsink", "ratio")}

    induced, control = looking.each(function)
    assert induced["broadcast"]["low"] > 0.8
    assert induced["vsink"]["low"] > 0.8
    for metric in ("broadcast", "vsink"):
        assert control[metric]["high"] < induced[metric]["low"]


def breadth(side):
    """How much broader the maps of tokens named sinks are than those of as many random ones."""
    table = table_of(Relevance, side, examples=0)
    of = {"metric": "entropy", "head": ALL, "condition": "sink - random-matched"}
    return select(table, **of)


def test_the_maps_of_induced_sinks_are_broad_once_a_head_looks_for_them(looking):
    induced, control = (one(table, layer=3) for table in looking.each(breadth))
    assert induced["low"] > 0.01
    assert control["high"] < 0.005


def test_attention_inside_the_encoders_as_shipped_is_no_sign_of_sinks(pair):
    """Induction acts on norms and contents: no map is broad, and no head looks for the sinks.

    The control's loudest tokens are objects, and heads do look for objects: they get more
    attention than others without being sinks.
    """

    def received(side):
        one_image_each = Measures(
            side.observe().attention.numpy().astype(np.float64), np.arange(IMAGES),
            Bootstrap(**OPTIONS),
        )  # fmt: skip
        kinds = pd.DataFrame(one_image_each.by_kind(side.sinks.numpy(), EVERY["all"], "all"))
        heads = functions(side)
        heads = heads[(heads["where"] == "vit") & (heads["metric"] == "event")]
        return one(kinds, condition=RATIO), heads["value"].max()

    (ratio, events), (control_ratio, _) = pair.each(received)
    assert ratio["high"] < 1.5 < control_ratio["low"]
    assert events < 0.1
    assert breadth(pair.induced)["value"].max() < 0.01
