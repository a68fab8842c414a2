"""How much memory does reading a whole benchmark take, with 1,000 items and with 50,000?

Each run is a process of its own, which reads every item once, image included, and tells its largest
resident set, before and after (Linux). Parquet is decoded by another process, which may take 1 GiB.
`python benchmarks/loaders.py [--items 1000 50000] [--out FILE]`
"""

import argparse
import base64
import io
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from diysink.evaluation.benchmarks import BENCHMARKS, Benchmark, llava_json


def png(number: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (number % 256, number // 256, 0)).save(file, "PNG")
    return file.getvalue()


def parquet(folder: Path, items: int) -> None:
    """POPE as its mirror has it, in row groups of 100."""
    row = {"answer": "yes", "category": "random"}
    rows = [
        row
        | {"question_id": f"{n}", "question": f"Is there a cat of number {n} in the image?"}
        | {"image": {"bytes": png(n), "path": None}}
        for n in range(items)
    ]
    (folder / "data").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "data/test-0.parquet", row_group_size=100)


def tsv(folder: Path, items: int) -> None:
    """HRBench, whose images are base64."""
    names = ("index", "question", "A", "B", "answer", "category", "cycle_category", "image")
    with (folder / "hr_bench_4k.tsv").open("w") as file:
        file.write("\t".join(names) + "\n")
        for n in range(items):
            image = base64.b64encode(png(n)).decode()
            file.write(f"{n}\tWhich color has {n}?\tred\tblue\tA\tsingle\t0\t{image}\n")


def json_list(folder: Path, items: int) -> None:
    """Dialogues of LLaVA with images in a folder."""
    (folder / "a.png").write_bytes(png())
    turns = [{"from": "human", "value": "<image>\nWhich?"}, {"from": "gpt", "value": "red"}]
    entries = [{"id": f"{n}", "image": "a.png", "conversations": turns} for n in range(items)]
    (folder / "test.json").write_text(json.dumps(entries))


def two_json_files(folder: Path, items: int) -> None:
    """VQAv2, whose ten answers are in another file, found by the question's id."""
    (folder / "val2014").mkdir()
    (folder / "val2014/COCO_val2014_000000000001.jpg").write_bytes(png())
    ids = [{"question_id": n, "image_id": 1} for n in range(items)]
    answers = [{"answer": "red", "answer_id": n, "answer_confidence": "yes"} for n in range(10)]
    given = {"multiple_choice_answer": "red", "answers": answers, "answer_type": "other"}
    questions = [each | {"question": "What color is it?"} for each in ids]
    for name, key, entries in (
        ("v2_OpenEnded_mscoco_val2014_questions.json", "questions", questions),
        ("v2_mscoco_val2014_annotations.json", "annotations", [each | given for each in ids]),
    ):
        (folder / name).write_text(json.dumps({"info": {}, key: entries}))


FORMATS = {
    "parquet": (parquet, BENCHMARKS["pope"]),
    "tsv": (tsv, BENCHMARKS["hrbench-4k"]),
    "json": (json_list, Benchmark("own", load=llava_json)),
    "json, answers in another file": (two_json_files, BENCHMARKS["vqav2"]),
}


def peak() -> float:
    """MiB, of this process alone: getrusage would tell that of the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def read(name: str, folder: Path) -> None:
    """In a process of its own: read all items, and tell the peaks in MiB."""
    before, start = peak(), time.perf_counter()
    items = FORMATS[name][1].items(folder)
    opened = time.perf_counter() - start
    count = sum(len(items[n].images) for n in range(len(items)))
    told: dict[str, float] = {
        "items": count,
        "before_mib": round(before, 1),
        "peak_mib": round(peak(), 1),
        "seconds_to_open": round(opened, 2),
        "seconds": round(time.perf_counter() - start, 2),
    }
    print(json.dumps(told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--items", type=int, nargs=2, default=(1_000, 50_000))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        return read(args.read[0], Path(args.read[1]))
    results = {name: measure(name, args.items) for name in FORMATS}
    record = {
        "formats": results,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
    }
    text = json.dumps(record, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    return None


def measure(name: str, sizes: tuple[int, int]) -> dict:
    """Both sizes, and the ratio of their peaks."""
    runs = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as temporary:
            FORMATS[name][0](Path(temporary), size)
            command = [sys.executable, __file__, "--read", name, temporary]
            runs.append(json.loads(subprocess.run(command, check=True, stdout=-1).stdout))
            runs[-1]["file_mib"] = round(
                sum(path.stat().st_size for path in Path(temporary).rglob("*.*")) / 2**20, 1
            )
    small, large = runs
    return {
        "runs": runs,
        "ratio_of_peaks": round(large["peak_mib"] / small["peak_mib"], 3),
        "growth_mib": round(large["peak_mib"] - small["peak_mib"], 1),
    }


if __name__ == "__main__":
    main()
