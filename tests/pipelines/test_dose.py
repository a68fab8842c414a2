"""The stage of doses on tiny models: what each level trains, shares and answers."""

from dataclasses import asdict
from functools import partial

import pandas as pd
import pytest

from diysink.artifact import write_manifest
from diysink.encoders import load_encoder
from diysink.records import Record, write_shards
from pipelines.dose import nodes
from pipelines.dose.nodes import changed as at_level
from pipelines.dose.nodes import measure_doses, summarize_doses
from pipelines.dose.settings import Doses
from tests.pipelines.test_conf import changed, settings_of
from tests.pipelines.test_profiles import profile

BASE = settings_of("base")
LEVELS = [
    {"value": 0, "max_steps": 0},
    {"value": 1, "max_steps": 0, "interference": 0.5},
    {"value": 2, "max_steps": 2, "options": {"activation": "relu"}},
]
DOSE = {"knob": "k", "planted": "rises", "compare": ["dual-oracle", "dual"], "levels": LEVELS}


def doses(**changes):
    one = DOSE | changes
    return Doses.model_validate({"doses": {"mine": one}})


def test_a_level_trains_what_is_compared_with_what_it_changes():
    dose = doses(connectors={"dual": {"views": "all", "options": {"hidden_dim": 5}}})
    one = dose.doses["mine"]
    align, finetune, evaluate = (BASE[name] for name in ("align", "finetune", "evaluate"))
    settings = [at_level(one, level, align, finetune, evaluate) for level in one.levels]
    assert [list(stage_1.connectors) for stage_1, _ in settings] == [["dual"]] * 3
    assert [stage_2.max_steps for _, stage_2 in settings] == [0, 0, 2]
    limits = [stage_2.validation.max_loss for _, stage_2 in settings]
    assert limits == [None, None, None]  # their length is the dose
    assert settings[0][0] == settings[1][0]
    assert settings[2][0].connectors["dual"].views == "all"
    assert settings[2][0].connectors["dual"].options == {"hidden_dim": 5, "activation": "relu"}


@pytest.mark.parametrize(
    "levels", [LEVELS[:1], LEVELS[::-1], [LEVELS[0], LEVELS[0]], [{"value": 0, "steps": 1}] * 2]
)
def test_levels_are_at_least_two_in_order(levels):
    with pytest.raises(ValueError, match="levels"):
        doses(levels=levels)


@pytest.fixture(scope="module")
def stage(parts, tiny_records, tmp_path_factory):
    if "llama" not in parts.name:
        pytest.skip("doses do not depend on the pair")
    root = tmp_path_factory.mktemp("dose")
    single = [
        Record(f"{record.id}", record.images, record.conversations[:2], group)
        for record, group in zip(tiny_records, ["global", "local", "mixed", None] * 4, strict=True)
    ]
    for split in ("align", "train", "validation", "test"):
        write_shards(root / "records" / split, single)
    write_manifest(root / "records", kind="records")
    model = changed(
        BASE["model"], encoder=str(parts / "encoder"), language=str(parts / "language"),
        profile="mine",
    )  # fmt: skip
    quiet = {"trainer": asdict(BASE["align"].trainer) | {"enable_progress_bar": False}}
    few = quiet | {"batch_size": 2}
    return partial(
        measure_doses,
        root / "records",
        profile(root / "profiles", load_encoder(parts / "encoder")),
        pd.DataFrame({"image": [], "simple": []}),
        model,
        BASE["sinks"],
        changed(BASE["align"], require_sinks=False, max_steps=2, **few),
        changed(BASE["finetune"], **few),
        changed(BASE["evaluate"], batch=8, max_new_tokens=2, resamples=20),
        seeds=[0, 1],
        seed=0,
        num_processes=1,
        workspace=str(root / "work"),
        device="cpu",
    )


def test_every_level_answers_with_both_variants_and_every_training(stage):
    dose = doses()
    answered = stage(dose=dose)
    counts = answered.groupby(["level", "variant", "seed"]).size()
    assert len(counts) == 3 * 2 * 2
    assert set(counts) == {16}
    table = summarize_doses(answered, {}, dose, stage.args[7], 0)
    assert sorted(table["level"].unique()) == [0, 1, 2]
    assert set(table["group"]) == {"all", "global", "local", "mixed"}
    assert (table["n_seeds"] == 2).all()
    mixed = table[table["group"] == "mixed"]
    assert (mixed["difference"] == 0).all()  # the oracle's route is both


def test_levels_share_the_trainings_that_they_have_in_common(stage, monkeypatch):
    trained = []

    def count(name):
        real = getattr(nodes, name)

        def counted(*args):
            result = real(*args)
            trained.append((name, result[0]))
            return result

        monkeypatch.setattr(nodes, name, counted)

    for name in ("align_connectors", "finetune_models"):
        count(name)
    stage(dose=doses())
    folders = {
        name: [folder for own, folder in trained if own == name]
        for name in ("align_connectors", "finetune_models")
    }
    assert len(set(folders["align_connectors"])) == 2
    assert len(set(folders["finetune_models"])) == 2


def test_without_a_dose_nothing_is_done(stage):
    answered = stage(dose=Doses(doses={}))
    assert answered.empty
    nothing = Doses(doses={})
    assert summarize_doses(answered, {}, nothing, stage.args[7], 0).empty
    recorded = {"dose": {"rows": [{"dose": "mine", "level": 0, "recorded": "abc"}]}}
    shown = summarize_doses(answered, recorded, nothing, stage.args[7], 0)
    assert shown.to_dict("records") == [{"dose": "mine", "level": 0, "recorded": "abc"}]
    assert isinstance(answered, pd.DataFrame)
