"""The evaluated candidate as one folder that answers by itself, and as the challenger."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import (
    Workspace,
    digest_file,
    digest_folder,
    digest_source,
    remove,
    write_manifest,
)
from pipelines.hooks.environment import code_state

if TYPE_CHECKING:
    from diysink.records import Record
    from pipelines.evaluate.settings import Evaluate
    from pipelines.register.settings import Register
    from pipelines.shared import Model


def assemble_candidate(
    finetuned_models: Path,
    reweightings: Path,
    evaluate: "Evaluate",
    model: "Model",
    register: "Register",
    workspace: str,
) -> Path:
    """The candidate's model and, if it has one, its trained selector, in one folder.

    ``diysink.model.load`` reads the folder. Nothing in it depends on when or where it was made.

    Raises:
        ValueError: the candidate's selection is one that a model folder cannot hold.
    """
    import json
    import shutil

    from diysink.artifact import write_json
    from diysink.selection import LANGUAGE_MODEL

    candidate = evaluate.variants.candidate
    how = evaluate.variants.chosen[candidate]
    trained = reweightings / how.selection / f"seed{register.seed}"
    if how.selection != "both" and not trained.is_dir():
        raise ValueError(
            f"the candidate {candidate!r} selects by {how.selection!r}, which a model folder "
            "cannot hold; choose a candidate that selects by 'both' or by one of "
            "reweight.selectors"
        )
    unit = f"{how.connector}/seed{register.seed}"
    inputs = {
        "models": digest_folder(finetuned_models),
        "reweightings": digest_folder(reweightings),
        "sentence": digest_source(model.sentence),
        "how": how.plain(),
        "unit": unit,
    }
    folder = Workspace(workspace, "register", inputs).folder("candidate")
    remove(folder)  # an assembly that was killed
    shutil.copytree(finetuned_models / unit, folder)
    settings = json.loads((folder / "config.json").read_text())
    changes = {} if how.arrangement is None else {"arrangement": how.arrangement}
    if how.tau != 1 and settings["tau"] is not None:
        changes |= {"tau": settings["tau"] * how.tau}
    if changes:
        write_json(folder / "config.json", settings | changes)
    if how.selection != "both":
        shutil.copytree(trained, folder, dirs_exist_ok=True)
        if (trained / "reweight.json").is_file() and model.sentence != LANGUAGE_MODEL:
            _copy_sentence_encoder(model.sentence, folder / "sentence")
    write_manifest(folder, kind="candidate", variant=candidate, inputs=inputs)
    return folder


def register_candidate(
    candidate_model: Path,
    predictions: pd.DataFrame,
    records: Path,
    sink_profiles: Path,
    evaluate: "Evaluate",
    model: "Model",
    register: "Register",
) -> dict[str, Any]:
    """Package and register the candidate as challenger; the same package is registered once.

    A version that holds the same package is loaded and asked first: one whose files were deleted
    or left behind does not count, and the package is registered again.

    Raises:
        ValueError: the predictions hold no row of the candidate and its seed, or MLflow takes no
            such name.
        RegistryUnreachableError: the registry is away.
    """
    from diysink import registry

    candidate, seed = evaluate.variants.candidate, register.seed
    judged = predictions[(predictions["variant"] == candidate) & (predictions["seed"] == seed)]
    if judged.empty:
        raise ValueError(
            f"no predictions of {candidate!r} with training seed {seed}: register.seed must be one "
            "of seeds, and the candidate one of the variants"
        )
    name = registry.check_model_name(register.name)
    digest = registry.package_digest(candidate_model, judged)
    with registry.deciding(name):  # two runs of one candidate at once register it once
        version = registry.usable_version(name, digest)
        if version is not None:
            registry.challenge(name, version)
        else:
            code = code_state(Path.cwd())
            tags = {
                "variant": candidate,
                "training_seed": str(seed),
                "git.revision": str(code["revision"]),
                "git.dirty": str(code["dirty"]),
                "digest.data": digest_folder(records),
                "digest.profile": digest_file(sink_profiles / model.profile / "profile.json"),
                "dvc.stage": os.environ.get("DVC_STAGE", "none"),
            }
            package = registry.package_model(
                candidate_model,
                judged,
                _example(evaluate.rows()[0].items(records)[0]),
                tags=tags,
                max_new_tokens=evaluate.max_new_tokens,
            )
            version = registry.register(package, name, digest=digest, tags=tags)
    return {
        "name": name,
        "version": version,
        "alias": registry.CHALLENGER,
        "digest": digest,
        "variant": candidate,
        "training_seed": seed,
        "accuracy": float(judged["correct"].mean()),
    }


def _copy_sentence_encoder(source: str, target: Path) -> None:
    """Its files as they are: loading and saving would add the weights it lacks, at random."""
    import shutil

    from huggingface_hub import snapshot_download

    kinds = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
    folder = Path(source)
    if not folder.is_dir():
        folder = Path(snapshot_download(source, allow_patterns=kinds))
    for kind in (*kinds, "*_Pooling/*.json"):  # how a sentence-transformers folder pools
        for file in folder.glob(kind):
            copy = target / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)


def _example(record: "Record") -> pd.DataFrame:
    """A question, as the package takes it."""
    from diysink.records import PLACEHOLDER

    question = record.conversations[0].text.replace(PLACEHOLDER, "").strip()
    return pd.DataFrame({"image": [record.images[0].data], "question": [question]})
