"""A stock LLaVA checkpoint in the place of this project's own trainings."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import Workspace, digest_source, each_unit, write_json, write_manifest
from pipelines.parts import check_checkpoints
from pipelines.profiles import load_profile

if TYPE_CHECKING:
    from pipelines.adopt.settings import Adopt
    from pipelines.shared import Model


def adopt_checkpoint(
    sink_profiles: Path,
    model: "Model",
    adopt: "Adopt",
    seeds: Sequence[int],
    workspace: str,
) -> tuple[Path, pd.DataFrame, Path, pd.DataFrame, pd.DataFrame]:
    """Convert a checkpoint, so that it is evaluated, analysed and reported like a trained model.

    Its one MLP starts every connector that is asked for; nothing is trained, so there are no
    connectors of stage 1 and no curves.

    Returns:
        An empty folder of aligned connectors, the folder of models, and empty tables of what
        stages.

    Raises:
        ValueError: no checkpoint is named, or one that `diysink.model.from_llava` refuses; more
            than one training seed; a profile without credible sinks, unless it may be so.
    """
    from diysink.model import from_llava

    if adopt.path is None:
        raise ValueError(
            "adopt.path is null; name a LLaVA checkpoint, a folder or a hub id: kedro run --env "
            "checkpoint --params checkpoint=llava-hf/llava-1.5-7b-hf --pipelines prepare,sinks,"
            "adopt,reweight,evaluate,analyze,claims,report"
        )
    if len(seeds) != 1:
        raise ValueError(f"seeds is {list(seeds)}, but a checkpoint is one training; name one seed")
    check_checkpoints(checkpoint := adopt.path)
    profile = load_profile(sink_profiles, model, require=adopt.require_sinks)
    inputs = {
        "checkpoint": digest_source(adopt.path, adopt.revision),
        "profile": profile.digest,
        "adopt": adopt.model_dump(include={"dtype", "connectors"}),
        "seeds": seeds,
    }
    work = Workspace(workspace, "adopt", inputs)

    def unit(name: str, scratch: Path, result: Path) -> list[dict[str, Any]]:
        kind = name.split("/")[0]
        converted = from_llava(
            checkpoint,
            profile,
            connector=kind,
            arrangement=adopt.connectors[kind],
            revision=adopt.revision,
            dtype=adopt.dtype,
        )
        converted.save(result)
        profile.save(result / "profile.json")
        write_json(result / "provenance.json", {**inputs, "unit": name})
        return [{"connector": kind}]

    models, _ = each_unit(work, [f"{kind}/seed{seeds[0]}" for kind in adopt.connectors], unit)
    write_manifest(models, kind="models", inputs=inputs)
    connectors = work.folder("connectors")
    write_manifest(connectors, kind="connectors", inputs=inputs)
    nothing = pd.DataFrame()  # was trained here
    return connectors, nothing, models, nothing, nothing
