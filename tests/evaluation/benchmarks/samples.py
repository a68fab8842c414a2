"""Tiny files in the schemas in which benchmarks are published, and what is told of an item."""

import base64
import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from diysink.artifact import digest_bytes
from diysink.evaluation.benchmarks import BENCHMARKS


def png(number: int) -> bytes:
    """A picture; each number has another one."""
    pixels = np.full((4, 6, 3), [number * 20 % 256, number, 255 - number], dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def b64(number: int) -> str:
    return base64.b64encode(png(number)).decode()


def image(number: int, path: str | None = None) -> dict:
    """As the datasets library writes it."""
    return {"bytes": png(number), "path": path}


def put(path: Path, content) -> Path:
    """Bytes, a text, or what JSON makes of anything else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def parquet(path: Path, rows: list[dict], row_group: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=row_group)
    return path


def lines(path: Path, rows: list[dict]) -> Path:
    return put(path, "".join(json.dumps(row) + "\n" for row in rows))


def delimited(path: Path, rows: list[dict], delimiter: str = "\t") -> Path:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return put(path, file.getvalue())


def zipped(folder: Path, name: str = "all.zip") -> Path:
    """The same files in one archive, in a folder beside it."""
    other = folder.with_name(folder.name + "-zipped")
    other.mkdir()
    with zipfile.ZipFile(other / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return other


def told(item) -> dict:
    """What a golden item says; images as the numbers of `png`."""
    human, gpt = item.conversations
    assert (human.speaker, gpt.speaker) == ("human", "gpt")
    known = {digest_bytes(png(number)): number for number in range(20)}
    return {
        "id": item.id,
        "images": [known[picture.sha256] for picture in item.images],
        "asked": human.text,
        "answer": gpt.text,
        "answers": item.answers,
        "options": item.options,
        "unit": item.unit,
        "group": item.group,
        "subtask": item.subtask,
        "labels": item.labels,
        "details": dict(item.details),
    }


def golden(id, images, asked, answer, **more) -> dict:
    rest = {
        "answers": (),
        "options": (),
        "unit": None,
        "group": None,
        "subtask": None,
        "labels": (),
        "details": {},
    }
    return {"id": id, "images": images, "asked": asked, "answer": answer, **rest, **more}


def read(name: str, folder: Path) -> list[dict]:
    """All items of a benchmark, as they are asked."""
    items = BENCHMARKS[name].items(folder)
    found = [told(items[index]) for index in range(len(items))]
    assert len({each["id"] for each in found}) == len(found)
    assert told(items[0]) == found[0]
    return found
