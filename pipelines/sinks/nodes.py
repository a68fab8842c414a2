"""Measure the sinks of every encoder in the parameters, judge them, and show them."""

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import Workspace, digest_source, write_manifest
from pipelines.engines import engine_of

if TYPE_CHECKING:
    from diysink.engine import Engine, EngineName
    from diysink.extraction import Task
    from diysink.records import Records
    from diysink.sinks import SinkProfile, Statistics
    from pipelines.shared import Ray
    from pipelines.sinks.settings import Sinks

logger = logging.getLogger(__name__)


class UnexpectedVerdictError(ValueError):
    """An encoder is not what the parameters expect it to be."""


def measure_sinks(
    records: Path | str,
    sinks: "Sinks",
    device: str,
    workspace: str,
    engine: "EngineName" = "local",
    ray: "Ray | None" = None,
) -> Path:
    """Statistics and profile of every encoder, in a folder with one sub-folder an encoder."""
    tasks = _tasks(records, sinks, _measured_on(device, engine, ray))
    split = _split(records, sinks.split)
    runner = engine_of(engine, sinks.workers, ray, device)
    work = Workspace(
        workspace,
        "sinks",
        {
            "records": split.digest,
            "encoders": {name: _what(task) for name, task in tasks.items()},
            "sinks": sinks.model_dump(mode="json", exclude={"encoders", "workers"}),
        },
    )
    results = work.folder("results")
    for name, task in tasks.items():
        folder = work.folder(f"results/{name}")
        # Also after a kill: it reads what is done, and makes the shards' workspace this run's own.
        statistics, profile = _measure(
            task, split, sinks, workspace, runner, sees_device=engine == "local"
        )
        statistics.save(folder / "statistics.safetensors")
        profile.save(folder / "profile.json")
    write_manifest(results, kind="sink profiles", records=split.digest, encoders=sorted(tasks))
    return results


def judge_sinks(sink_profiles: Path, sinks: "Sinks") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Print every verdict and hold it against what the parameters expect.

    Returns:
        Verdicts and their evidence, as tables.

    Raises:
        UnexpectedVerdictError: a verdict differs from ``expect`` and ``unexpected`` is ``stop``.
    """
    from rich.console import Console

    from diysink.sinks.tables import evidence_table, verdict_table

    profiles = _profiles(sink_profiles)
    console = Console()
    for name, profile in profiles.items():
        tau = "none" if profile.tau is None else f"{profile.tau:.3g}"
        if profile.relative:
            tau += " times the image's median norm"
        if profile.interval:
            tau += f" ({profile.interval[0]:.3g} to {profile.interval[1]:.3g})"
        console.print(
            f"{name}: {profile.verdict}; tau {tau}, {profile.mean_sinks:.2f} sinks per image, "
            f"{profile.images} images",
            style="bold green" if profile.found else "bold yellow",
            highlight=False,
        )
        for reason in profile.reasons:
            console.print(f"  - {reason}", highlight=False)
    wrong = [
        f"{name} should be {expected!r} but is {profiles[name].verdict!r}: "
        + " ".join(profiles[name].reasons)
        for name, expected in sinks.expect.items()
        if name in profiles and (expected == "found") != profiles[name].found
    ]
    if wrong and sinks.unexpected == "stop":
        raise UnexpectedVerdictError(
            f"{' '.join(wrong)} Look at the figures in data/08_reporting/sinks; change "
            "sinks.expect, or set sinks.unexpected to warn."
        )
    for line in wrong:
        logger.warning(line)
    return verdict_table(profiles), evidence_table(profiles)


def tabulate_sinks(
    sink_profiles: Path, workspace: str
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, Path]:
    """Histogram, sinks per image and positions of every encoder, and a folder of figures."""
    from diysink.sinks import Statistics
    from diysink.sinks.figures import draw_norms, draw_positions, save_svg
    from diysink.sinks.tables import counts_table, histogram_table, positions_table

    profiles = _profiles(sink_profiles)
    digests = {name: profile.digest for name, profile in profiles.items()}
    figures = Workspace(workspace, "sinks", {"figures": digests}).folder("figures")
    tables: tuple[list[pd.DataFrame], ...] = ([], [], [])
    for name, profile in profiles.items():
        statistics = Statistics.load(sink_profiles / name / "statistics.safetensors")
        drawn = (
            histogram_table(name, statistics),
            counts_table(name, profile),
            positions_table(name, statistics, profile),
        )
        for table, part in zip(tables, drawn, strict=True):
            table.append(part)
        save_svg(draw_norms(drawn[0], profile), figures / f"{name}-norms.svg")
        save_svg(draw_positions(drawn[2], profile), figures / f"{name}-positions.svg")
    write_manifest(figures, kind="sink figures", profiles=digests)
    histogram, counts, positions = (pd.concat(parts, ignore_index=True) for parts in tables)
    return histogram, counts, positions, figures


def show_sinks(
    records: Path | str, sink_profiles: Path, sinks: "Sinks", device: str
) -> pd.DataFrame:
    """A few images with every patch's norm and attention and which patches are sinks.

    One row an encoder and image: ``encoder, id, image`` (bytes of the file), ``rows, columns,
    norms, attention`` (over an even share), ``sinks``; the lists in raster order.
    """
    import torch

    from diysink.device import DTYPES, threads
    from diysink.extraction import loaded
    from diysink.sinks import attention_relative_to_even, token_norms

    split = _split(records, sinks.split)
    profiles = _profiles(sink_profiles)
    wanted = min(sinks.examples, len(split))
    places = [index * len(split) // wanted for index in range(wanted)]
    shown = [
        (record.id, image)
        for place in places
        for record in [split[place]]
        for image in record.images[:1]
    ]
    rows: list[dict[str, Any]] = []
    here = _measured_on(device, "local", None)
    for name, task in _tasks(records, sinks, here).items():
        encoder, process = loaded(task)
        for identity, image in shown:
            with threads(task.threads), torch.no_grad():
                pixels = process([image.open()])
                seen = encoder.observe(
                    pixels.to(next(encoder.parameters()).device, DTYPES[task.dtype])
                )
            grid = encoder.grid(pixels)
            attention = attention_relative_to_even(seen.attention, seen.tokens)
            rows.append(
                {
                    "encoder": name,
                    "id": identity,
                    "image": image.data,
                    "rows": grid[0],
                    "columns": grid[1],
                    "norms": token_norms(seen.hidden)[0].tolist(),
                    "attention": attention[0].tolist(),
                    "sinks": profiles[name].mask(seen.hidden)[0].tolist(),
                }
            )
    loaded.cache_clear()  # no later stage needs the encoder: the device's memory is theirs
    return pd.DataFrame(rows)


def _measure(
    task: "Task",
    split: "Records",
    sinks: "Sinks",
    workspace: str,
    engine: "Engine",
    *,
    sees_device: bool,
) -> "tuple[Statistics, SinkProfile]":
    from diysink.extraction import first_image, loaded, run_shards
    from diysink.extraction import split as shards_of
    from diysink.sinks import calibrate

    # A Ray cluster may have GPUs that this machine has not.
    encoder, process = loaded(task if sees_device else replace(task, device="cpu"))
    rows, columns = encoder.grid(process([first_image(split).open()]))
    layout = sinks.calibration.layout(rows, columns, encoder.dim, **sinks.bootstrap.model_dump())
    shards = shards_of(task, layout, len(split), sinks.shard_size, sinks.every)
    inputs = {
        "records": split.digest,
        "encoder": _what(task),
        "layout": layout.to_dict(),
        "size": sinks.shard_size,
        "every": sinks.every,
    }
    work = Workspace(workspace, "sinks", inputs)
    statistics = run_shards(shards, work, engine, progress=True)
    return statistics, calibrate(statistics, encoder.identity, sinks.calibration)


def _measured_on(device: str, engine: "EngineName", ray: "Ray | None") -> str:
    """The device of the workers. On Ray, ``auto`` is theirs to have: this machine may have none."""
    if engine == "ray" and device == "auto":
        return "cuda" if ray is not None and ray.num_gpus else "cpu"
    from diysink.device import resolve_device

    return str(resolve_device(device))


def _tasks(records: Path | str, sinks: "Sinks", device: str) -> "dict[str, Task]":
    from diysink.extraction import Task

    common = {
        "records": f"{records}/{sinks.split}",
        "device": device,
        **sinks.model_dump(include={"dtype", "batch_size", "threads"}),
    }
    return {
        name: Task(encoder=entry.path, revision=entry.revision, layer=entry.layer, **common)
        for name, entry in sinks.encoders.items()
    }


def _what(task: "Task") -> dict[str, Any]:
    """All of a task that decides its numbers: content in place of paths."""
    source = digest_source(task.encoder, task.revision)
    return asdict(replace(task, encoder=source, records="", revision=None))


def _split(records: Path | str, name: str) -> "Records":
    from diysink.records import Records

    if isinstance(records, Path) and not (records / name).is_dir():
        known = sorted(path.name for path in records.iterdir() if path.is_dir())
        raise ValueError(
            f"sinks.split is {name!r}, but the records have {', '.join(known) or 'no splits'}."
        )
    return Records(f"{records}/{name}")


def _profiles(folder: Path) -> "dict[str, SinkProfile]":
    from diysink.sinks import SinkProfile

    paths = sorted(folder.glob("*/profile.json"))
    return {path.parent.name: SinkProfile.load(path) for path in paths}
