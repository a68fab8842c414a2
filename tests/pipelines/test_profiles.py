"""A profile that gives a part of a connector no token to learn from is refused."""

import json
import logging

import pytest

from diysink.artifact import BrokenFileError, write_manifest
from diysink.encoders import CheckpointError, load_encoder
from diysink.sinks import SinkProfile
from pipelines.align.nodes import align_connectors
from pipelines.finetune.nodes import finetune_models
from pipelines.parts import parts_digest
from pipelines.profiles import load_profile
from tests.pipelines.test_conf import changed, parameters, settings_of

BASE = settings_of("base")
MODEL = changed(BASE["model"], profile="mine")
EDGES, HISTOGRAM = (0.5, 2.0, 8.0), (90, 10)
WITH_SINKS = {"tau": 3.0, "sinks_per_image": (1, 9), "histogram": HISTOGRAM}
# name: (what the profile says, what is said of it)
EMPTY = {
    "no tau": ({"tau": None, "sinks_per_image": (10,)}, "has no tau"),
    "tau above all": ({"tau": 100.0, "sinks_per_image": (10,)}, "which no token of its images"),
    "tau below all": ({"tau": 0.1, "sinks_per_image": (0,) * 9 + (10,)}, "every token reaches"),
}


def profile(folder, encoder=None, found=False, **changes):
    """A folder of profiles with one, ``mine``."""
    said = WITH_SINKS | changes
    identity = (encoder or load_encoder(parameters("base")["model"]["encoder"])).identity
    made = SinkProfile(
        encoder=identity, tau=said["tau"], method="fixed", interval=None, found=found,
        evidence=(), sink_dimensions=(), edges=EDGES, histogram=said["histogram"],
        sinks_per_image=said["sinks_per_image"], grid=(3, 3), settings={},
    )  # fmt: skip
    (folder / "mine").mkdir(parents=True)
    made.save(folder / "mine" / "profile.json")
    write_manifest(folder, kind="sink profiles")
    return folder


@pytest.mark.parametrize("connector", ["dual", "dual-resampler"])
@pytest.mark.parametrize("kind", EMPTY)
def test_two_parts_and_tokens_for_one_are_refused(kind, connector, tmp_path):
    changes, why = EMPTY[kind]
    profiles = profile(tmp_path, **changes)
    with pytest.raises(ValueError, match=why) as caught:
        load_profile(profiles, MODEL, require=False, train={"single": "single", "mine": connector})
    for said in ("'mine'", "align.connectors", "sinks.calibration.method"):
        assert said in str(caught.value)
    # One part learns from all tokens, whatever they are called; and to look is not to train.
    load_profile(
        profiles,
        MODEL,
        require=False,
        train={n: n for n in ("single", "parameter-matched", "resampler")},
    )
    load_profile(profiles, MODEL, require=False)


@pytest.mark.parametrize(("without", "warned"), [(4, False), (5, False), (6, True)])
def test_few_images_with_sinks_are_worth_a_warning(tmp_path, caplog, without, warned):
    profiles = profile(tmp_path, sinks_per_image=(without, 10 - without))
    with caplog.at_level(logging.WARNING, "pipelines"):
        load_profile(profiles, MODEL, require=False, train={"single": "single", "mine": "dual"})
    assert [record.args[0] for record in caplog.records] == ([100 * without / 10] if warned else [])


def test_align_and_finetune_refuse_before_anything_is_trained(parts, tmp_path):
    model = changed(
        MODEL,
        encoder=str(parts / "encoder"),
        language=str(parts / "language"),
        sentence="language-model",
    )
    profiles = profile(tmp_path / "profiles", load_encoder(parts / "encoder"), tau=None)
    align = changed(BASE["align"], require_sinks=False)
    write_manifest(tmp_path, kind="records")
    work = str(tmp_path / "work")
    with pytest.raises(ValueError, match="has no tau"):
        align_connectors(tmp_path, profiles, model, align, [0], 1, work)
    with pytest.raises(ValueError, match="has no tau"):
        finetune_models(
            tmp_path, profiles, tmp_path, model, BASE["finetune"], align, [0], 1, work
        )  # fmt: skip
    assert not (tmp_path / "work").exists()


def test_a_damaged_profile_is_named(tmp_path):
    path = profile(tmp_path) / "mine" / "profile.json"
    whole = path.read_text()
    for content in (whole[:-9], "[]", json.dumps(json.loads(whole) | {"version": 9}), ""):
        path.write_text(content)
        with pytest.raises(BrokenFileError) as caught:
            load_profile(tmp_path, MODEL, require=False)
        assert caught.value.path == path


def test_a_checkpoint_is_looked_at_before_it_is_digested(parts, tmp_path, monkeypatch):
    import pipelines.adopt.nodes
    import pipelines.evaluate.nodes
    import pipelines.parts

    for module in (pipelines.parts, pipelines.adopt.nodes, pipelines.evaluate.nodes):
        monkeypatch.setattr(module, "digest_source", lambda *_: pytest.fail("it was digested"))
    other = tmp_path / "adapter"
    other.mkdir()
    (other / "adapter_config.json").write_text("{}")
    adopt = changed(BASE["adopt"], path=str(other))
    lvlm = changed(BASE["lvlm"], path=str(other))
    for enter in (
        lambda: parts_digest(changed(MODEL, encoder=str(parts / "encoder"), language=str(other))),
        lambda: parts_digest(changed(MODEL, encoder=str(other), language=str(parts / "language"))),
        lambda: pipelines.evaluate.nodes.digested_lvlm(lvlm),
        lambda: pipelines.adopt.nodes.adopt_checkpoint(tmp_path, MODEL, adopt, [0], str(tmp_path)),
    ):
        with pytest.raises(CheckpointError, match="adapter"):
            enter()
