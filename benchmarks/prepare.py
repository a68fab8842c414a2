"""How fast are a user's data taken in and checked, in how much memory, and what does a kill cost?

Small JPEGs (112 x 84 pixels, 3.6 kB, each with a comment of its own) in an image folder with
LLaVA's JSON, and as bytes in parquet; dialogues of four turns. A run is a process of its own with
two workers; memory is that of the process with its children, looked at twice a second (Linux).
Then: a run killed half-way and run again; the suites on tables of a million rows; and whether a
check of one pixel of 64 finds the damage that decoding all of them finds.
`python -m benchmarks.prepare [--records 20000 200000] [--rows 1000000] [--out FILE]`
"""

import argparse
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.extraction import machine
from diysink.artifact import Workspace
from diysink.engine import LocalEngine
from diysink.records import BadItemError, ImageFile, Reason, Records, open_source, take_in

SIZE, WORKERS, SPLIT = (112, 84), 2, "train"
MILLION = 1_000_000


def photographs(size: tuple[int, int], count: int = 64) -> list[bytes]:
    """JPEGs of soft shapes and some noise, about as many bytes a pixel as a photograph."""
    draws = np.random.default_rng(0)
    found = []
    for _ in range(count):
        coarse = draws.integers(0, 255, (size[1] // 8 + 1, size[0] // 8 + 1, 3), dtype=np.uint8)
        soft = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
        noisy = (soft + draws.normal(0, 6, soft.shape)).clip(0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(noisy).save(file, "JPEG", quality=85)
        found.append(file.getvalue())
    return found


def with_comment(jpeg: bytes, number: int) -> bytes:
    """The same picture in another file."""
    comment = f"{number:012d}".encode()
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


def item(number: int) -> dict[str, Any]:
    draws = np.random.default_rng(number % 1000)
    question, answer = (
        " ".join(f"word{word}" for word in draws.integers(0, 500, count)) for count in (12, 40)
    )
    turns = [
        ("human", f"<image>\n{question}"),
        ("gpt", answer),
        ("human", question),
        ("gpt", answer),
    ]
    said = [{"from": speaker, "value": text} for speaker, text in turns]
    return {"id": f"{number:012d}", "conversations": said}


def write_json(folder: Path, records: int) -> None:
    jpegs = photographs(SIZE)
    with (folder / "data.json").open("w") as file:
        for number in range(records):
            name = f"{number // 1000:04d}/{number:09d}.jpg"
            path = folder / "images" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(with_comment(jpegs[number % len(jpegs)], number))
            file.write(("," if number else "[") + json.dumps(item(number) | {"image": name}) + "\n")
        file.write("]")


def write_parquet(folder: Path, records: int) -> None:
    jpegs = photographs(SIZE)
    writer = None
    for first in range(0, records, 1000):
        rows = [
            item(number) | {"image": with_comment(jpegs[number % len(jpegs)], number)}
            for number in range(first, min(first + 1000, records))
        ]
        table = pa.Table.from_pylist(rows)
        writer = writer or pq.ParquetWriter(folder / "data.parquet", table.schema)
        writer.write_table(table, row_group_size=100)
    assert writer is not None
    writer.close()


SOURCES = {"json": ("data.json", write_json), "parquet": ("data.parquet", write_parquet)}


def prepare(source: str, folder: Path, work: Path) -> None:
    """In a process of its own: take a source in, and hold it against the suites."""
    from pipelines.prepare.settings import Prepare
    from pipelines.prepare.suites import run_suites
    from pipelines.prepare.tables import all_tables

    start, used = time.perf_counter(), processor_seconds()
    opened = open_source(folder / SOURCES[source][0], folder / "images")
    taken = take_in(opened, Workspace(work, "prepare", {}), SPLIT, engine=LocalEngine(WORKERS))
    took, used = time.perf_counter() - start, processor_seconds() - used
    quarantine = pd.DataFrame(columns=["split", "index", "id", "reason", "detail"])
    settings = Prepare.model_validate({"splits": {SPLIT: {"images": str(folder / "images")}}})
    splits = {SPLIT: {"items": taken.items, "records": taken.records}}
    tables = all_tables(taken.folder.parent, splits, quarantine, settings)
    rules = run_suites(tables, settings, work / "docs")
    told = {
        "records": taken.records,
        "seconds": round(took, 1),
        "processor_seconds": round(used, 1),
        "records_per_second_of_two_processors": round(2 * taken.records / used),
        "seconds_of_checks": round(time.perf_counter() - start - took, 1),
        "rules_hold": all(rule["passed"] for rule in rules),
        "digest": Records(taken.folder).digest,
    }
    print(json.dumps(told))


def processor_seconds() -> float:
    """Of this process and its children: a busy machine disturbs it least."""
    here = psutil.Process()
    times = (each.cpu_times() for each in (here, *here.children(recursive=True)))
    return sum(each.user + each.system for each in times)


def check_rows(rows: int, work: Path) -> None:
    """In a process of its own: the suites on tables of so many rows."""
    from pipelines.prepare.settings import Prepare
    from pipelines.prepare.suites import run_suites

    draws = np.random.default_rng(0)
    ids = pd.Series([f"{number:012d}" for number in range(rows)], dtype="str")
    records = pd.DataFrame({"id": ids, "speakers": "hghg", "placeholders": 1, "expected": 1})
    records["shortest"] = draws.integers(1, 400, rows).astype("float64")
    records["group"] = pd.Series(["global", "local", "mixed", None] * (rows // 4), dtype="str")
    sides = draws.integers(100, 1000, (rows, 2))
    images = pd.DataFrame({"id": ids, "short_side": sides.min(1), "pixels": sides.prod(1)})
    images["aspect"] = sides.max(1) / sides.min(1)
    images["decodes"] = pd.Series(["yes", *[None] * 1999] * (rows // 2000), dtype="object")
    images["shared_with"] = pd.Series(None, index=images.index, dtype="object")
    settings = Prepare.model_validate({"splits": {"test": {"images": "images"}}})
    start = time.perf_counter()
    rules = run_suites({"test records": records, "test images": images}, settings, work / "docs")
    told = {"rows": rows, "tables": 2, "rules": len(rules)}
    print(json.dumps(told | {"seconds": round(time.perf_counter() - start, 1)}))


def memory(process: psutil.Process) -> tuple[int, int]:
    """Resident bytes of a process and its children; and with shared pages counted once."""
    resident = proportional = 0
    for each in (process, *process.children(recursive=True)):
        try:
            facts = each.memory_full_info()
        except psutil.Error:
            continue
        resident, proportional = resident + facts.rss, proportional + facts.pss
    return resident, proportional


def run(*arguments: str, kill_when: Callable[[], bool] | None = None) -> dict[str, Any]:
    """What a process of its own tells, and its peaks; or it is killed with its children."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.prepare", *arguments]
    process = psutil.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    peaks = (0, 0)
    while process.poll() is None:
        try:
            peaks = tuple(map(max, peaks, memory(process)))
        except psutil.Error:
            break
        if kill_when is not None and kill_when():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return {}
        time.sleep(0.5)
    told, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    names = ("peak_mib_resident", "peak_mib_proportional")
    mib = {name: round(peak / 2**20) for name, peak in zip(names, peaks, strict=True)}
    return json.loads(told) | mib


def damaged_alike(files: int) -> dict[str, int]:
    """How often a check and the decoding of every pixel differ on damaged JPEGs."""
    draws = np.random.default_rng(7)
    picture = Image.open(io.BytesIO(photographs((203, 151), 1)[0]))
    kinds = [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 4}]
    whole = []
    for mode in ("RGB", "L", "CMYK"):
        for options in kinds:
            file = io.BytesIO()
            picture.convert(mode).save(file, "JPEG", quality=85, **options)
            whole.append(file.getvalue())
    found: Counter[tuple[bool, bool]] = Counter()
    for number in range(files):
        data = bytearray(whole[number % len(whole)])
        place, end = sorted(draws.integers(2, len(data), 2).tolist())
        match number // len(whole) % 4:
            case 0:
                del data[place:]
            case 1:
                data[place] = int(draws.integers(256))
            case 2:
                del data[place : min(end, place + 200)]
            case _:
                data[place:] = b"\xff\xd9"
        found[_decodes(bytes(data)), _is_taken(bytes(data))] += 1
    return {
        "files": files,
        "decode": sum(count for (whole, _), count in found.items() if whole),
        "differ": found[True, False] + found[False, True],
    }


def _decodes(data: bytes) -> bool:
    try:
        size = Image.open(io.BytesIO(data), formats=["JPEG"]).size
        ImageFile(data, "", "JPEG", *size).open()
    except Exception:  # a header that decoders refuse, or damage
        return False
    return True


def _is_taken(data: bytes) -> bool:
    try:
        ImageFile.of(data)
    except BadItemError as error:
        return error.reason not in (Reason.BROKEN_IMAGE, Reason.NOT_AN_IMAGE)
    return True


def measured(source: str, records: int, root: Path, *, kill: bool = False) -> dict[str, Any]:
    """One source, taken in once; with ``kill`` once more, killed half-way and run again."""
    folder = root / f"{source}-{records}"
    (folder / "images").mkdir(parents=True)
    SOURCES[source][1](folder, records)
    whole = run("--prepare", source, str(folder), str(folder / "work"))
    if kill:
        again, shards = folder / "again", -(-records // 1024)

        def done() -> int:
            return len(list(again.rglob("*.done.json")))

        arguments = "--prepare", source, str(folder), str(again)
        run(*arguments, kill_when=lambda: done() >= shards // 2)
        before = done()
        resumed = run(*arguments)
        whole["killed"] = {
            "shards_done": before,
            "shards": shards,
            "processor_seconds_of_the_rest": resumed["processor_seconds"],
            "same_digest": resumed["digest"] == whole["digest"],
        }
    shutil.rmtree(folder)
    print(source, whole, flush=True)
    return {key: value for key, value in whole.items() if key != "digest"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=int, nargs=2, default=(20_000, 200_000))
    parser.add_argument("--rows", type=int, default=MILLION)
    parser.add_argument("--damaged", type=int, default=30_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--prepare", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--check", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.prepare:
        return prepare(args.prepare[0], *map(Path, args.prepare[1:]))
    if args.check:
        return check_rows(int(args.check[0]), Path(args.check[1]))
    result: dict[str, Any] = {"damaged": damaged_alike(args.damaged)}
    print(result, flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        result["expectations"] = run("--check", str(args.rows), str(root / "rows"))
        for source in SOURCES:
            small, large = (
                measured(source, records, root, kill=source == "json" and number == 0)
                for number, records in enumerate(args.records)
            )
            growth = large["peak_mib_resident"] - small["peak_mib_resident"]
            per_record = growth / (args.records[1] - args.records[0])
            result[source] = {
                "runs": [small, large],
                "extrapolated_to_a_million": {
                    "peak_mib_resident": round(
                        large["peak_mib_resident"] + per_record * (MILLION - args.records[1])
                    ),
                    "minutes": round(
                        MILLION / large["records_per_second_of_two_processors"] / 60, 1
                    ),
                    "minutes_of_checks": round(
                        large["seconds_of_checks"] * MILLION / args.records[1] / 60, 1
                    ),
                },
            }
    result |= machine(False) | {"workers": WORKERS, "cores": os.cpu_count()}
    print(json.dumps(result, indent=2))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    return None


if __name__ == "__main__":
    main()
