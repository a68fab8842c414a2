"""Parameters that a run cannot use are told at once, before it starts."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.cli.utils import _split_params

from pipelines.parameters import BLOCKS, build
from pipelines.pipeline_registry import ON_REQUEST, STAGES, register_pipelines
from pipelines.problems import ParameterError, known_keys
from tests.pipelines.test_conf import PRESETS, parameters

ALL = set(STAGES) | {"miniature", "promote"}
ADOPTED = {"prepare", "sinks", "adopt", "reweight", "evaluate", "analyze", "report"}
LEFT_OUT = object()
LVLM_VARIANTS = "variant_sets.training-free.variants"


@pytest.fixture(scope="module")
def given() -> dict[str, Any]:
    return parameters("test")


def changed(given: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The parameters with other values at dotted paths."""
    found = copy.deepcopy(given)
    for path, value in changes.items():
        *above, last = path.split(".")
        inner = found
        for key in above:
            inner = inner[key]
        inner[last] = value
    return found


def at(given: dict[str, Any], path: str) -> Any:
    """The value at a dotted path."""
    for key in path.split("."):
        given = given[key]
    return given


def problems(given: dict[str, Any], changes: dict[str, Any], stages: Any = ALL, **more: Any) -> Any:
    """What is wrong, by parameter."""
    with pytest.raises(ParameterError) as error:
        build(changed(given, changes), stages, **more)
    assert all(str(problem) in str(error.value) for problem in error.value.problems)
    return {problem.where: problem for problem in error.value.problems}


@pytest.mark.parametrize("env", ["base", *PRESETS])
def test_every_preset_passes(env: str) -> None:
    values = parameters(env)
    if values["evaluate"]["variants"] == "training-free":
        named = {"lvlm.path": "hub/model"} if env == "training-free" else {}
        build(changed(values, named), {"prepare", "evaluate"})
        return
    build(values, ADOPTED if env == "checkpoint" else ALL)
    for stage in STAGES.keys() | ON_REQUEST.keys() - {"adopt", "benchmarks", "inspect"}:
        build(values, {stage})


NOT_COUNTS = [0, -1, 1.5, "3", True, None, [1]]
COUNTS = [
    *(
        "align.batch_size",
        "align.max_steps",
        "finetune.batch_size",
        "reweight.epochs",
        "evaluate.batch",
    ),
    *("evaluate.resamples", "evaluate.max_new_tokens", "analyze.attention.max_samples"),
    *("analyze.words.max_samples", "analyze.attention.bins"),
    *("sinks.shard_size", "sinks.every", "sinks.bootstrap.replicates"),
    *(
        "align.trainer.accumulate_grad_batches",
        "align.trainer.every_n_train_steps",
        "prepare.records_per_shard",
    ),
    *("prepare.generate.train.images", "prepare.generate.test.questions"),
]
SHARES = ["align.warmup_ratio", "prepare.quarantine_limit", "sinks.calibration.credible.images"]
SHARES += ["prepare.min_group_share.test", "promote.margin"]
NAMES = ["../x", "/some/where", "a/b", "", ".hidden", "a b", 2024, True, None]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        *((path, value) for path in COUNTS for value in NOT_COUNTS),
        *((path, value) for path in SHARES for value in (-0.1, 1.1, "0.5", True, float("nan"))),
        *((path, v) for path in ("evaluate.level", "analyze.level") for v in (0, 1, 95, None)),
        *(("align.learning_rate", value) for value in (0, -1e-3, "1e-3", float("inf"), None)),
        *(("align.betas", value) for value in ([0.9], [0.9, 1.0], 0.9, None)),
        *(("seeds", value) for value in ([], [0, 0], 0, None, ["0"], [-1], [2**32], [True])),
        *(("seed", value) for value in (-1, 2**32, 0.5, "0", None)),
        *(("device", value) for value in ("gpu", 0, None, "cuda:x")),
        *(("align.connectors", value) for value in ({}, [], "dual", {"duel": {}}, None)),
        *(("align.connectors.dual.views", value) for value in ("both", None, 1)),
        *(("align.connectors.dual.connector", value) for value in ("duel", 1)),
        *(("align.connectors.dual.options", value) for value in ({"hidden": 8}, {"bias": 1})),
        *(("variant_sets.trained.variants.dual.arrangement", value) for value in ("middle", 3)),
        *(("sinks.calibration.method", value) for value in ("gaps", None, 1)),
        *(("model.encoder", value) for value in (2024, True, None, "")),
        *(("sinks.encoders.induced.path", value) for value in (2024, False, 1.5)),
        *(("model.profile", value) for value in NAMES),
        *(("register.name", value) for value in NAMES if value != "a b"),
        *(("variant_sets.trained.variants.dual.connector", value) for value in (["dual"], {})),
        *(("variant_sets.trained.variants.dual.selection", value) for value in ({"a": 1}, 3)),
        *(("analyze.sweep.taus", value) for value in ([], [2], 1, ["1"])),
        *(("variant_sets.trained.compare", value) for value in (["dual"], "dual", [["dual"]])),
        *(("evaluate.cot.scope", value) for value in ("without it", None)),
        *(("align.trainer.strategy", value) for value in ("deepspeed", "fsdp2", None, 3)),
        *(("align.trainer", value) for value in (None, 3, [])),
        *(("align.trainer.gradient_clip_val", value) for value in (-1.0, "1", None)),
        *(("align.trainer.devices", value) for value in (0, True, [], "auto", -1, 2)),
        ("reweight.selectors.lsg.epochs", 0),
        *(("reweight.selectors.lsg.options", value) for value in ({"scale": "1"}, {"scal": 1.0})),
        *(("num_processes", value) for value in (0, "2", True, None)),
        *(("promote.rollback", value) for value in ("yes", None, 1)),
    ],
)
def test_a_value_of_another_kind(given: dict[str, Any], where: str, value: Any) -> None:
    found = problems(given, {where: value})
    # Of a list, the item that is wrong; of a dataclass that checks itself, all of it.
    assert all(f"{at}.".startswith(f"{where}.") or where.startswith(f"{at}.") for at in found)
    assert all(problem.expected for problem in found.values())


@pytest.mark.parametrize("value", [2024, True, 1.5])
@pytest.mark.parametrize("key", ["images", "records"])
def test_folders_of_one_s_own_data_that_yaml_took_for_something_else(
    given: dict[str, Any], key: str, value: Any
) -> None:
    splits = {name: {"images": "folder", "records": None} for name in given["prepare"]["generate"]}
    build(changed(given, {"prepare.splits": splits}), ALL)
    splits = copy.deepcopy(splits)
    splits["train"][key] = value
    where = f"prepare.splits.train.{key}"
    found = problems(given, {"prepare.splits": splits})
    assert set(found) == {where}
    assert str(value).lower() in found[where].came
    assert "./2024" in found[where].remedy


def test_what_the_remedy_says_is_text_on_the_command_line() -> None:
    assert _split_params(None, None, "model.encoder=2024") == {"model": {"encoder": 2024}}
    assert _split_params(None, None, "model.encoder=./2024") == {"model": {"encoder": "./2024"}}


ENTRIES = {
    "prepare.splits": {"images": "folder"},
    "prepare.generate": {"kind": "train", "images": 3},
    "sinks.encoders": {"path": "folder"},
    "reweight.selectors": {"kind": "lsg", "options": {"scale": 1.0}},
    "variant_sets.trained.variants": {
        "connector": "dual",
        "arrangement": None,
        "selection": "both",
    },
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ENTRIES)
def test_names_that_become_folders(given: dict[str, Any], where: str, name: Any) -> None:
    found = problems(given, {where: {name: ENTRIES[where]}})
    assert "folder" in found[where].expected
    assert str(name).lower() in found[where].came.lower() or name is None


@pytest.mark.parametrize("name", ["batch", "images", "steps", "level", "kind", "seed"])
@pytest.mark.parametrize("where", ENTRIES)
def test_a_name_may_be_called_like_a_parameter(
    given: dict[str, Any], where: str, name: str
) -> None:
    entries = (at(given, where) or given["prepare"]["generate"]) | {name: ENTRIES[where]}
    if where == "prepare.splits":
        entries = dict.fromkeys(entries, ENTRIES[where])
    build(changed(given, {where: entries, f"sinks.expect.{name}": "found"}), ALL)


@pytest.mark.parametrize("where", ENTRIES)
def test_an_entry_is_a_mapping_with_all_its_keys(given: dict[str, Any], where: str) -> None:
    entries = at(given, where) or {}
    needed = next(iter(ENTRIES[where]))
    lacking = {k: v for k, v in ENTRIES[where].items() if k != needed}
    missing = "" if needed == "connector" else f".{needed}"  # a variant has that or a change
    assert f"{where}.x{missing}" in problems(given, {where: {**entries, "x": lacking}})
    assert f"{where}.x" in problems(given, {where: {**entries, "x": "text"}})
    odd = {**ENTRIES[where], "odd": 1}
    assert f"{where}.x.odd" in problems(given, {where: {**entries, "x": odd}})


def fields(kind: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all fields of settings; an entry of a mapping is called ``x``."""
    for name in known_keys(kind, path):
        at = (*path, name)
        yield at
        yield from fields(kind, at)
        yield from ((*at, "x", entry) for entry in known_keys(kind, (*at, "x")) if entry not in at)


@pytest.mark.parametrize("block", [name for name, kind in BLOCKS.items() if known_keys(kind, ())])
def test_a_misspelt_key_at_any_depth(given: dict[str, Any], block: str) -> None:
    """Each key in turn ends with its last letter twice; the message names the nearest key."""
    paths = list(fields(BLOCKS[block]))
    given = changed(given, {"evaluate.variants": given["variant_sets"]["trained"]})
    for *above, key in paths:
        wrong = key + key[-1]
        found = given | {block: copy.deepcopy(given[block])}
        inner = found[block]
        for name in above:
            if inner.get(name) is None:
                inner[name] = {}
            inner = inner[name]
        inner[wrong] = inner.pop(key, None)
        with pytest.raises(ParameterError) as error:
            build(found, [])
        where = ".".join((block, *above, wrong))
        [problem] = [one for one in error.value.problems if one.where == where]
        assert problem.expected.startswith(repr(key)), problem
    assert {path[0] for path in paths} == given[block].keys()


@pytest.mark.parametrize(
    ("where", "known"),
    [("algin", "align"), ("align.nothing_like_it", "max_steps"), ("adopt.connectors.duel", "dual")],
)
def test_what_was_meant_or_all_that_there_is(given: dict[str, Any], where: str, known: str) -> None:
    [problem] = problems(given, {where: "natural"}).values()
    assert known in problem.expected


def test_names_of_one_s_own_are_let_be(given: dict[str, Any]) -> None:
    """What `${...}` refers to, what a preset asks for, and keywords that others check."""
    free = {"checkpoint": "x", "rollback": True, "_data": "/data", "batch": 8}
    free |= {"finetune.lora": {"r": 8}, "miniature.encoder.width": 24}
    build(changed(given, free), ALL)


def test_all_is_listed_at_once(given: dict[str, Any]) -> None:
    wrong = {"align.max_steps": 0, "evaluate.batch": 0, "sinks.every": 0, "prepare.workers": -1}
    assert set(problems(given, wrong)) == set(wrong)
    assert set(problems(given, wrong, {"report"})) == set(wrong)  # whatever stages run
    more = wrong | {"finetune.learning_rte": 1, "report.titel": "x", "register.sed": 5}
    assert set(problems(given, more)) == set(more)
    assert build({"numbers": 3}, {"a stage of another project"}) == {}


@pytest.mark.parametrize(
    ("where", "changes"),
    [
        ("variant_sets.trained.variants.new.connector", {"connector": "resampler"}),
        ("variant_sets.trained.variants.new.connector", {"connector": "dule"}),
        ("variant_sets.trained.variants.new.selection", {"selection": "reweigh"}),
    ],
)
def test_a_variant_of_what_is_not_trained(
    given: dict[str, Any], where: str, changes: dict[str, Any]
) -> None:
    variant = {"connector": "dual", "arrangement": None, "selection": "both"} | changes
    [(key, value)] = changes.items()
    found = problems(given, {"variant_sets.trained.variants.new": variant})
    assert set(found) == {where}
    assert repr(value) in found[where].came
    known = given["align"]["connectors"] if key == "connector" else ["reweight", "cot-soft"]
    assert all(name in found[where].expected for name in known)


def test_one_mistake_is_not_told_again_for_all_that_hangs_on_it(given: dict[str, Any]) -> None:
    for where, value in (
        ("align.connectors", {"single": {}, "parameter-matched": {}, "duel": {}}),
        ("seeds", "0"),
        ("reweight.selectors.reweight", 3),
        ("prepare.generate.test", {}),
        ("variant_sets.trained.variants", None),
        ("variant_sets.trained.variants.dual", "dual"),
        ("evaluate", None),
    ):
        found = problems(given, {where: value})
        assert all(f"{at}.".startswith(f"{where}.") for at in found)


def test_adopted_connectors_take_the_place_of_trained_ones() -> None:
    values = parameters("checkpoint")
    assert "variant_sets.checkpoint.variants.x.connector" in problems(
        values,
        {
            "variant_sets.checkpoint.variants.x": {
                "connector": "dual",
                "arrangement": None,
                "selection": "both",
            }
        },
        ADOPTED,
    )
    found = problems(values, {"adopt.path": None, "seeds": [0, 1]}, ADOPTED)
    assert set(found) == {"adopt.path", "seeds"}


def test_models_of_an_earlier_run_are_asked_where_nothing_is_trained(
    given: dict[str, Any], tmp_path: Path
) -> None:
    for name in ("single", "parameter-matched"):
        (tmp_path / name / "seed0").mkdir(parents=True)
    (tmp_path / "dual/seed1").mkdir(parents=True)  # of another seed
    made = {"finetuned_models": tmp_path}
    later = {"evaluate", "register", "report"}
    build(given, later)  # nobody says where they are
    build(given, later, {"finetuned_models": tmp_path / "missing"})
    found = problems(given, {}, later, made=made)
    assert "variant_sets.trained.variants.dual.connector" in found
    assert "variant_sets.trained.variants.single.connector" not in found
    build(given, ALL, made)  # trained anew
    (tmp_path / "dual/seed0").mkdir()
    build(given, later, made)
    selection = {"variant_sets.trained.variants.dual.selection": "older"}
    problems(given, selection, later, made=made)
    (tmp_path / "selectors/older").mkdir(parents=True)
    build(changed(given, selection), later, made | {"reweightings": tmp_path / "selectors"})


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("reweight.connector", "resampler"),
        ("analyze.probes.connector", "resampler"),
        ("analyze.probes.seed", 3),
        ("register.seed", 5),
        ("variant_sets.trained.baseline", "matchd"),
        ("variant_sets.trained.candidate", "reweight"),
        ("variant_sets.trained.oracle", "oracle"),
        ("variant_sets.trained.compare", [["dual", "dule"]]),
        ("variant_sets.trained.candidate", "dual-cot"),  # cannot be packaged
        ("evaluate.benchmarks.test.split", "tset"),
        ("align.split", "train2"),
        ("analyze.split", "val"),
        ("analyze.ablation.sink", "sinks"),
        ("model.profile", "encoder"),
        ("reweight.selectors.lsg", {"kind": "lgs"}),
    ],
)
def test_settings_that_contradict_each_other(given: dict[str, Any], where: str, value: Any) -> None:
    assert set(problems(given, {where: value})) == {where}


def test_a_candidate_with_weights_of_its_own_cannot_be_packaged(given: dict[str, Any]) -> None:
    changes = {"variant_sets.trained.variants.dual-reweight.weights": {"sink": 0.5}}
    assert set(problems(given, changes)) == {"variant_sets.trained.candidate"}
    build(changed(given, {"variant_sets.trained.variants.dual-reweight.tau": 0.5}), ALL)


def test_what_is_taken_out_is_not_missed(given: dict[str, Any]) -> None:
    """A variant that is null is not compared; a selector that is null needs no split."""
    out = {
        "variant_sets.trained.variants.dual-random": None,
        "variant_sets.trained.variants.dual-oracle": None,
    }
    build(changed(given, out), ALL)
    assert set(problems(given, {"variant_sets.trained.variants.parameter-matched": None})) == {
        "variant_sets.trained.baseline"
    }
    build(changed(given, {"analyze.probes": None, "analyze.ablation": None}), ALL)
    selectors = dict.fromkeys(given["reweight"]["selectors"])
    kept = {
        name: how
        for name, how in given["variant_sets"]["trained"]["variants"].items()
        if how.get("selection") not in selectors
    }
    without = {
        "reweight.selectors": selectors,
        "reweight.split": "none",
        "reweight.connector": "resampler",
    }
    without |= {
        "variant_sets.trained.variants": kept,
        "variant_sets.trained.candidate": "dual",
        "variant_sets.trained.compare": [],
    }
    build(changed(given, without), ALL)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"lvlm.path": None}, "lvlm.path"),
        ({"evaluate.variants": "training-fre"}, "evaluate.variants"),
        ({"variant_sets.training-free.candidate": "frnt"}, "variant_sets.training-free.candidate"),
        (
            {"variant_sets.training-free.compare": [["front", "back"]]},
            "variant_sets.training-free.compare",
        ),
        ({"lvlm.tau": 0}, "lvlm.tau"),
        ({"evaluate.cot.score": "maximum"}, "evaluate.cot.score"),
        ({"sinks.calibration.method": "guess"}, "sinks.calibration.method"),
        ({"lvlm.dtype": "half"}, "lvlm.dtype"),
        *(
            (
                {"variant_sets.training-free.variants.x": variant},
                "variant_sets.training-free.variants.x",
            )
            for variant in (
                3,
                {"change": "shuffle"},
                {"change": "none", "options": {"where": "front"}},
                {"change": "reposition", "options": {"where": "middle"}},
                {"change": "reposition", "options": {"wher": "front"}},
                {"change": "var", "control": "random-matched"},
                {"change": "none", "connector": "dual"},
                {"change": "none", "selection": "both"},
                {"connector": "dual", "options": {"where": "front"}},
                {"selection": "both"},
            )
        ),
    ],
)
def test_variants_of_an_lvlm(changes: dict[str, Any], where: str) -> None:
    values = parameters("training-free")
    changes = {"lvlm.path": "hub/model"} | changes
    assert where in problems(values, changes, {"prepare", "evaluate"})


def test_an_lvlm_cannot_be_registered() -> None:
    values = parameters("training-free")
    found = problems(values, {"lvlm.path": "hub/model"}, {"evaluate", "register"})
    assert "variant_sets.training-free.candidate" in found


def test_a_set_of_variants_of_one_s_own(given: dict[str, Any]) -> None:
    """Named, or written where the name would be."""
    mine = {"baseline": "a", "candidate": "b"}
    mine |= {"variants": {"a": {"connector": "single"}, "b": {"connector": "dual"}}}
    roles = {"analyze.ablation": None}
    named = {"variant_sets.mine": mine, "evaluate.variants": "mine"}
    for changes in (named, {"evaluate.variants": mine}):
        made = build(changed(given, changes | roles), ALL)["evaluate"].variants
        assert list(made.trained) == ["a", "b"]
        assert made.oracle is None
    wrong = copy.deepcopy(mine)
    wrong["variants"]["b"]["connector"] = "dule"
    assert set(problems(given, {"evaluate.variants": wrong} | roles)) == {
        "evaluate.variants.variants.b.connector"
    }


def test_every_parameter_has_a_type_and_every_type_a_parameter(given: dict[str, Any]) -> None:
    base = parameters("base")
    assert base.keys() == BLOCKS.keys()
    wired = {name for pipeline in register_pipelines().values() for name in pipeline.inputs()}
    taken = {name.removeprefix("params:") for name in wired if name.startswith("params:")}
    elsewhere = {"variant_sets", "dry_run", "estimate", "architecture"}  # no node reads these
    assert taken | elsewhere == BLOCKS.keys()
    assert not taken & elsewhere


@pytest.mark.parametrize(
    ("compare", "level", "where"),
    [
        (["dual-oracle", "nobody"], {}, "compare"),
        (["dual-oracle", "dual-reweight"], {}, "compare"),
        (["dual-oracle", "dual"], {"profile": "nowhere"}, "levels.1.profile"),
    ],
)
def test_a_dose_of_what_this_run_has_not(
    given: dict[str, Any], compare: list[str], level: dict[str, Any], where: str
) -> None:
    dose = {"knob": "k", "planted": "rises", "compare": compare}
    levels = [{"value": 0}, {"value": 1} | level]
    found = problems(given, {"dose.doses": {"mine": dose | {"levels": levels}}})
    assert set(found) == {f"dose.doses.mine.{where}"}


def test_trials_train_on_one_device(given: dict[str, Any]) -> None:
    several = {"reweight.trainer": {"strategy": "ddp", "devices": 2}}
    build(changed(given, several), ALL - {"tune"})
    assert "reweight.trainer.strategy" in problems(given, several, {"tune"})


def test_what_trains_little_is_not_sharded(given: dict[str, Any]) -> None:
    trainer = {"strategy": "fsdp2", "devices": 2}
    build(changed(given, {"finetune.trainer": trainer}), ALL)
    for stage in ("align", "reweight"):
        where = f"{stage}.trainer"
        assert set(problems(given, {where: trainer})) == {where}


def test_a_held_out_split_is_one_that_there_is(given: dict[str, Any]) -> None:
    assert set(problems(given, {"finetune.validation.split": "held-out"})) == {
        "finetune.validation.split"
    }
    build(changed(given, {"finetune.validation": None}), ALL)


def test_a_connector_of_a_dose_is_looked_at_before_anything_trains(given: dict[str, Any]) -> None:
    dose = {"knob": "k", "planted": "rises", "compare": ["dual-oracle", "dual"]}
    levels = [{"value": 0}, {"value": 1, "options": {"activaton": "linear"}}]
    found = problems(given, {"dose.doses": {"mine": dose | {"levels": levels}}})
    assert {"dose.doses.mine.levels.1.connectors.dual.options.activaton"} <= set(found)
