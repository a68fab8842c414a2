"""Inside encoder and language model: dimensions, criteria, and what heads do at sinks."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import atomic_path, digest_folder, load_tensors
from pipelines.analyze.study import Batch, Checkpoint, Study, intervals
from pipelines.parts import parts_digest, untrained
from pipelines.profiles import load_profile

if TYPE_CHECKING:
    from diysink.analysis import MassiveRule
    from diysink.model import AnswerGenerator
    from pipelines.align.settings import Align
    from pipelines.shared import Model


def find_dimensions(
    records: Path,
    finetuned_models: Path,
    sink_profiles: Path,
    aligned_connectors: Path,
    model: "Model",
    align: "Align",
    analyze: dict[str, Any],
    seed: int,
    workspace: str,
    device: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The language model's loudest dimensions at sinks through training, and how sets overlap.

    Checkpoints: ``untrained`` (a fresh connector), ``aligned`` (after stage 1), ``finetuned``
    (after stage 2). Both tables are empty where ``analyze.dimensions`` is null.
    """
    from diysink.analysis.dimension_overlap import dimension_overlap
    from diysink.analysis.dimensions import DimensionProfiles, dimension_profiles, sink_dimensions
    from diysink.model.questions import question_batch

    asked, massive = analyze["dimensions"], analyze["massive"]
    if asked is None:
        return pd.DataFrame(), pd.DataFrame()
    rule = massive_rule(massive)
    unit = f"{asked['connector']}/seed{asked['seed']}"

    def before(aligned: bool) -> Checkpoint:
        def make() -> "AnswerGenerator":
            from diysink.engine import resolve_device
            from diysink.model import AnswerGenerator

            profile = load_profile(sink_profiles, model, require=False)
            made, _ = untrained(unit, model, profile, align)
            if aligned:
                connector = load_tensors(aligned_connectors / unit / "connector.safetensors")
                made.model.model.multi_modal_projector.load_state_dict(connector)
            on = made.model.to(resolve_device(device))
            return AnswerGenerator(on, made.chat_encoder, made.image_processor)

        of = {
            "parts": parts_digest(model),
            "align": align.plain(),
            "profiles": digest_folder(sink_profiles),
            "connectors": digest_folder(aligned_connectors),
            "aligned": aligned,
        }
        return Checkpoint(make, of)

    if unknown := set(asked["checkpoints"]) - {"untrained", "aligned", "finetuned"}:
        raise ValueError(
            f"analyze.dimensions.checkpoints has {', '.join(sorted(unknown))}; there are "
            "untrained, aligned and finetuned"
        )
    found = {}
    for name in asked["checkpoints"]:
        study = Study(
            "dimensions",
            records,
            finetuned_models,
            analyze,
            workspace,
            device,
            checkpoint=None if name == "finetuned" else before(name == "aligned"),
            massive=massive,
            seed=seed,
        )

        def measure(batch: Batch, folder: Path, study: Study = study) -> None:
            questions = question_batch(study.generator, batch.items)
            profiles = dimension_profiles(study.generator, questions, rule, seed)
            with atomic_path(folder / "profiles.safetensors") as temporary:
                profiles.save(temporary)

        found[name] = DimensionProfiles.merged(
            [
                DimensionProfiles.load(one.folder / "profiles.safetensors")
                for one in study.each(measure)
            ]
        )
    options = {"top": asked["top"], "level": analyze["level"]}
    drawn = {"resamples": analyze["resamples"], "seed": seed}
    return (
        sink_dimensions(found, rule, **options),
        dimension_overlap(found, rule, **options, **drawn),
    )


def tell_functions(
    records: Path,
    finetuned_models: Path,
    analyze: dict[str, Any],
    seed: int,
    workspace: str,
    device: str,
) -> pd.DataFrame:
    """Which heads do nothing at sinks, and which broadcast; empty where it is null."""
    from diysink.analysis.function import head_outputs, sink_function

    if analyze["function"] is None:
        return pd.DataFrame()
    study = Study("function", records, finetuned_models, analyze, workspace, device, seed=seed)
    seen = study.ask(lambda generator, questions, _: head_outputs(generator, questions, seed))
    return sink_function(seen, **intervals(analyze, seed))


def massive_rule(massive: dict[str, Any]) -> "MassiveRule":
    """When a hidden dimension is massive, as the parameters say."""
    from diysink.analysis import MassiveRule

    known = massive["dimensions"]
    return MassiveRule(
        float(massive["ratio"]), float(massive["times"]), None if known is None else tuple(known)
    )
