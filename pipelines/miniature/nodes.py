"""Trains the miniature's parts; a killed run goes on with the first part that is not finished."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.miniature.settings import Miniature


Figures = dict[str, dict[str, float]]


def build_miniature(miniature: "Miniature", seed: int, workspace: str) -> tuple[Path, Figures]:
    """Build all parts; return their folder and what was measured of them.

    The shipped weights, which `model` in the parameters names by default, are not touched.
    """
    from diysink.artifact import Workspace, write_manifest
    from diysink.miniature.build import build_part
    from diysink.miniature.weights import PARTS

    parameters = miniature.model_dump(mode="json", exclude_unset=True)
    work = Workspace(workspace, "miniature", {"miniature": parameters, "seed": seed})
    folder = work.folder("models")
    figures: Figures = {}
    for part in PARTS:
        done = work.finished(part)
        if done is None:
            done = build_part(part, folder, seed=seed, parameters=parameters)
            work.finish(part, done, [folder / part])
        figures[part] = done
    write_manifest(folder, kind="miniature", seed=seed, parameters=parameters, figures=figures)
    return folder, figures
