"""Registration and promotion as Kedro runs them: the candidate's folder, the challenger."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from kedro.config import OmegaConfigLoader

from diysink.artifact import read_manifest, write_manifest
from diysink.registry import UnusableVersionError, decisions
from diysink.registry.state import state
from pipelines.promote.nodes import decide
from pipelines.register.nodes import assemble_candidate, register_candidate
from pipelines.settings import CONFIG_LOADER_ARGS
from pipelines.store import relocate
from tests.pipelines.project import ROOT, kedro_run
from tests.pipelines.test_conf import changed, settings_of
from tests.registry.conftest import NAME, answers, saved_model, toy, version  # noqa: F401 - fixtures

Version = Callable[..., int]
BASE = settings_of("base")
SETTINGS = changed(BASE["promote"], resamples=200)
REGISTER = changed(BASE["register"], name=NAME)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, False),
        ({"rollback": True}, True),
        ({"promote": {"rollback": True}}, True),
        ({"promote": {"margin": 0.1}}, False),
    ],
)
def test_rollback_is_asked_for_in_either_way(given: dict[str, Any], expected: bool) -> None:
    loader = OmegaConfigLoader(str(ROOT / "conf"), runtime_params=given, **CONFIG_LOADER_ARGS)
    promote = loader["parameters"]["promote"]
    assert promote["rollback"] is expected
    assert promote["margin"] == given.get("promote", {}).get("margin", 0.02)


def test_the_node_promotes_refuses_and_rolls_back(version: Version) -> None:  # noqa: F811
    version(answers(0.5))
    assert decide(SETTINGS, REGISTER, 0)["action"] == "first"
    version(answers(0.6))
    assert decide(SETTINGS, REGISTER, 0)["action"] == "promote"
    version(answers(0.4))
    assert decide(SETTINGS, REGISTER, 0)["action"] == "refuse"
    back = decide(changed(SETTINGS, rollback=True), REGISTER, 0)
    assert (back["action"], back["champion"]) == ("rollback", 1)
    assert json.dumps(back)


def registration(number: int, digest: str) -> dict[str, Any]:
    return {"name": NAME, "version": number, "digest": digest}


def test_what_the_stage_registered_is_judged(version: Version) -> None:  # noqa: F811
    """DVC restores `register` from its cache: an older version than the alias names."""
    for share, digest in ((0.6, "x"), (0.7, "y"), (0.4, "z")):
        version(answers(share), digest)
    made = decide(SETTINGS, REGISTER, 0, registration(2, "y"))
    assert (made["challenger"], made["champion"]) == (2, 2)
    assert state(NAME).version("challenger") == 2
    made = decide(SETTINGS, REGISTER, 0, registration(7, "x"))  # of another registry's numbers
    assert (made["action"], made["challenger"]) == ("refuse", 1)
    with pytest.raises(LookupError, match="pipelines register"):
        decide(SETTINGS, REGISTER, 0, registration(1, "never"))
    with pytest.raises(ValueError, match="the registration names version"):
        decide(SETTINGS, REGISTER, 0, {"name": NAME})
    assert len(decisions(NAME)) == 2


def test_a_rolled_back_registration_is_refused_unless_named(version: Version) -> None:  # noqa: F811
    for share, digest in ((0.6, "x"), (0.7, "y")):
        made = version(answers(share), digest)
        decide(SETTINGS, REGISTER, 0, registration(made, digest))
    decide(changed(SETTINGS, rollback=True), REGISTER, 0, registration(2, "y"))
    made = decide(SETTINGS, REGISTER, 0, registration(2, "y"))
    assert (made["action"], made["champion"], made["figures"]) == ("refuse", 1, None)
    made = decide(changed(SETTINGS, version=2), REGISTER, 0, registration(2, "y"))
    assert (made["action"], made["champion"]) == ("promote", 2)


def test_the_version_is_given_on_the_command_line() -> None:
    given = {"promote": {"version": 3}}  # as --params promote.version=3
    loader = OmegaConfigLoader(str(ROOT / "conf"), runtime_params=given, **CONFIG_LOADER_ARGS)
    promote = loader["parameters"]["promote"]
    assert (promote["version"], promote["rollback"]) == (3, False)


def of_dual(selection: str = "both") -> dict[str, Any]:
    """A set of variants with one in it, which is the candidate."""
    variants = {"dual": {"connector": "dual", "selection": selection}}
    return {"baseline": "dual", "candidate": "dual", "variants": variants}


@pytest.fixture
def candidate(
    saved_model: Path,  # noqa: F811
    tiny_records: Any,
    tmp_path: Path,
) -> Callable[[], dict[str, Any]]:
    """Registers a tiny model's folder as the stage does; what it returns."""
    profile = tmp_path / "profiles" / "p" / "profile.json"
    profile.parent.mkdir(parents=True)
    profile.write_text("{}")
    records = tmp_path / "records"
    shutil.copytree(tiny_records.folder, records / "test")
    (records / "manifest.json").write_text("{}")
    evaluate = changed(BASE["evaluate"], variants=of_dual(), max_new_tokens=4)
    model = tmp_path / "candidate"
    shutil.copytree(saved_model, model)
    write_manifest(model, kind="candidate")

    def run() -> dict[str, Any]:
        with mlflow.start_run():
            return register_candidate(
                model,
                answers(0.5, n=10),
                records,
                tmp_path / "profiles",
                evaluate,
                changed(BASE["model"], profile="p"),
                changed(REGISTER, seed=3),
            )

    return run


@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")
def test_a_package_whose_files_are_gone_is_registered_again(
    tracking: Path, candidate: Callable[[], dict[str, Any]]
) -> None:
    """Deleted artefacts and moved checkouts alike: the version is there, its files are not."""
    first = candidate()
    assert candidate() == first
    shutil.move(tracking / "artifacts", tracking / "moved")
    second = candidate()
    assert (first["version"], second["version"]) == (1, 2)
    assert second["digest"] == first["digest"]
    with pytest.raises(UnusableVersionError):
        decide(changed(SETTINGS, version=1), REGISTER, 0)
    assert decide(SETTINGS, REGISTER, 0, second)["champion"] == 2


@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")
def test_a_package_with_a_flipped_bit_is_registered_again(
    tracking: Path, candidate: Callable[[], dict[str, Any]]
) -> None:
    """Damaged weights of the same size load and answer: only their digest tells."""
    first = candidate()
    (weights,) = (tracking / "artifacts").rglob("artifacts/candidate/model.safetensors")
    data = bytearray(weights.read_bytes())
    data[-5] ^= 64
    weights.write_bytes(data)
    with pytest.raises(UnusableVersionError, match=r"model\.safetensors"):
        decide(SETTINGS, REGISTER, 0, first)
    assert candidate()["version"] == 2


@pytest.mark.parametrize("selection", ["cot", "random", "oracle", "sink"])
def test_a_selection_that_no_folder_can_hold_is_refused(selection: str, tmp_path: Path) -> None:
    evaluate = changed(BASE["evaluate"], variants=of_dual(selection))
    with pytest.raises(ValueError, match=f"selects by '{selection}'"):
        assemble_candidate(tmp_path, tmp_path, evaluate, BASE["model"], REGISTER, str(tmp_path))


def test_a_candidate_without_predictions_is_refused(tmp_path: Path) -> None:
    evaluate, register = changed(BASE["evaluate"], variants=of_dual()), changed(REGISTER, seed=7)
    with pytest.raises(ValueError, match="no predictions of 'dual' with training seed 7"):
        register_candidate(
            tmp_path, answers(0.5), tmp_path, tmp_path, evaluate, BASE["model"], register
        )


@pytest.fixture(scope="module")
def registered(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the whole run's project; MLflow's address is put back afterwards."""
    project = tmp_path_factory.mktemp("registered") / "project"
    shutil.copytree(whole, project)
    relocate(project / "mlruns/mlflow.db", "diysink")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{project}/mlruns/mlflow.db")
    yield project
    mlflow.set_tracking_uri(before)


def read(project: Path, name: str) -> Any:
    return json.loads((project / "data/08_reporting" / name).read_text())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Kedro's plugins, loaded in this process, warn of their own
class TestAfterAWholeRun:
    def test_the_evaluated_candidate_is_the_challenger(self, registered: Path) -> None:
        made = read(registered, "registration.json")
        assert (made["alias"], made["version"]) == ("challenger", 1)
        tags = mlflow.MlflowClient().get_model_version(made["name"], "1").tags
        assert tags["digest.package"] == made["digest"]
        assert {"git.revision", "digest.data", "digest.profile", "dvc.stage"} <= tags.keys()

    def test_the_candidate_folder_is_whole_and_selects_as_evaluated(self, registered: Path) -> None:
        folder = registered / "data/06_models/candidate"
        manifest = read_manifest(folder, thorough=True)
        assert manifest["inputs"]["how"]["selection"] == "reweight"
        assert (folder / "reweight.safetensors").is_file()
        assert (folder / "sentence/model.safetensors").is_file()

    def test_the_package_repeats_the_evaluation(self, registered: Path) -> None:
        """What was registered is what was judged: the same answers to the same questions."""
        from diysink.records import Records
        from diysink.registry.package import read_predictions

        made = read(registered, "registration.json")
        model = mlflow.pyfunc.load_model(f"models:/{made['name']}@challenger")
        judged = read_predictions(made["name"], made["version"]).set_index("id")
        records = list(Records(registered / "data/03_primary/records/test"))[:12]
        asked = pd.DataFrame(
            {
                "image": [record.images[0].data for record in records],
                "question": [judged.loc[record.id, "question"] for record in records],
            }
        )
        expected = [judged.loc[record.id, "prediction"] for record in records]
        assert model.predict(asked)["answer"].tolist() == expected

    def test_promote_then_nothing_to_roll_back_to(self, registered: Path) -> None:
        kedro_run(registered, "promote")
        name = read(registered, "registration.json")["name"]
        made = read(registered, "decision.json")
        assert (made["action"], made["champion"]) == ("first", 1)
        assert decisions(name)[-1].to_json() == made
        assert made["run_id"] is not None
        assert mlflow.pyfunc.load_model(f"models:/{name}@champion") is not None
        kedro_run(registered, "promote", promote={"version": 1})
        assert (read(registered, "decision.json")["action"], len(decisions(name))) == ("keep", 2)
        with pytest.raises(LookupError, match="nothing to roll back to"):
            kedro_run(registered, "promote", rollback=True)

    def test_the_same_candidate_is_registered_once(self, registered: Path) -> None:
        before = read(registered, "registration.json")
        kedro_run(registered, "register")
        assert read(registered, "registration.json") == before
        versions = mlflow.MlflowClient().search_model_versions(f"name = '{before['name']}'")
        assert len(versions) == 1
