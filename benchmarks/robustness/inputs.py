"""What does intake do with damaged and hostile inputs?

Images (bit flips, truncations, parts moved, metadata of any size), items in JSON (wrong types, deep
nesting, odd numbers and texts, other media), JSON and parquet files with damaged bytes, and parquet
files that expand go through the real intake in small splits. Each must be taken, or quarantined
with a reason, or its source refused by name; nothing else may come out, in bounded time and memory.

    python -m benchmarks.robustness.inputs --count 10000 --seed 0

The same seed makes the same inputs. The exit code is 1 if any input failed.
"""

import argparse
import copy
import json
import math
import platform
import random
import resource
import shutil
import signal
import struct
import tempfile
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.robustness.result import tell
from diysink.artifact import Workspace
from diysink.records import Reason, Records, SourceError, open_source, take_in

SPLIT = 100  # inputs to a split
SECONDS = 120  # for a split; whoever needs more hangs
GROWTH = 1_500_000_000  # bytes that the peak of memory may grow by
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
ODD_TEXTS = (
    "", " ", "\u3000", "\0", "\ufeff", "\u202e", "e\u0301", "\ud800", "\udfff", "<image>",
    "<video>", "<|image_pad|>", "../../etc/passwd", "/etc/hostname", "file:///etc/hostname",
    "good.png", "http://example.org/a.png", "C:\\a.png", "x" * 5000, "{{7*7}}", "<script>", "NaN",
    "nan",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**63, 10**400, 1.5, -0.0, math.nan, math.inf, [], {}, [[]], [None],
    {"bytes": None, "path": None}, {"path": "good.png"}, {"": ""},
)  # fmt: skip
KEYS = (
    "id", "image", "conversations", "group", "subtask", "from", "value", "images", "image_url",
    "video", "videos", "audio", "Video_Path", "frames", "model", "source", "",
)  # fmt: skip


# --- Images ----------------------------------------------------------------------------------


def pictures(draw: random.Random) -> dict[str, list[bytes]]:
    """Whole files of every format and of several kinds each."""
    noise = np.random.default_rng(draw.randrange(2**32)).integers(0, 255, (40, 56, 3), np.uint8)
    image = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("JPEG", image, {}),
        ("JPEG", image, {"progressive": True, "exif": exif, "comment": b"a comment"}),
        ("JPEG", image.convert("CMYK"), {"icc_profile": bytes(2000)}),
        ("JPEG", image.convert("L"), {}),
        ("PNG", image, {}),
        ("PNG", image.convert("P"), {"transparency": 3}),
        ("PNG", image.convert("RGBA"), {"exif": exif, "icc_profile": bytes(2000)}),
        ("PNG", Image.fromarray(noise[..., 0].astype(np.uint16) * 257), {}),
        ("PNG", image, {"save_all": True, "append_images": [image.rotate(90)]}),
        ("WEBP", image, {}),
        ("WEBP", image.convert("RGBA"), {"lossless": True, "exif": exif, "xmp": b"<x/>"}),
        ("WEBP", image, {"save_all": True, "append_images": [image.rotate(90)]}),
        ("GIF", image, {"comment": b"a comment"}),
        ("GIF", image, {"save_all": True, "append_images": [image.rotate(90)], "loop": 0}),
        ("BMP", image, {}),
        ("BMP", image.convert("P"), {}),
        ("TIFF", image, {}),
        ("TIFF", image, {"compression": "tiff_lzw"}),
    ]
    files: dict[str, list[bytes]] = {form: [] for form in FORMATS}
    for form, picture, options in kinds:
        file = BytesIO()
        picture.save(file, form, **options)
        files[form].append(file.getvalue())
    return files


def png_chunk(kind: bytes, data: bytes, damage: int = 0) -> bytes:
    checksum = zlib.crc32(kind + data) ^ damage
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def flip(data: bytearray, draw: random.Random) -> bytearray:
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return data


def flip_early(data: bytearray, draw: random.Random) -> bytearray:
    """Headers say how large a picture is and where its parts lie."""
    for _ in range(draw.choice((1, 2, 4))):
        data[draw.randrange(min(64, len(data)))] = draw.choice((0, 1, 127, 128, 255))
    return data


def cut(data: bytearray, draw: random.Random) -> bytearray:
    return data[: draw.randrange(len(data))]


def cut_out(data: bytearray, draw: random.Random) -> bytearray:
    start = draw.randrange(len(data))
    del data[start : start + draw.choice((1, 4, 16, 300))]
    return data


def repeat(data: bytearray, draw: random.Random) -> bytearray:
    start = draw.randrange(len(data))
    part = data[start : start + draw.choice((1, 4, 16, 300))]
    return data[:start] + part * draw.choice((2, 3, 50)) + data[start:]


def swap(data: bytearray, draw: random.Random) -> bytearray:
    first, second = sorted(draw.randrange(len(data)) for _ in range(2))
    return data[:first] + data[second:] + data[first:second]


def fill(data: bytearray, draw: random.Random) -> bytearray:
    start = draw.randrange(len(data))
    size = draw.choice((2, 8, 100))
    data[start : start + size] = bytes([draw.choice((0, 255))]) * size
    return data


def append(data: bytearray, draw: random.Random) -> bytearray:
    return data + draw.randbytes(draw.choice((1, 100, 10_000)))


def metadata(data: bytearray, draw: random.Random) -> bytearray:
    """Metadata that is large, or compressed, or damaged, where the format has its own."""
    large = zlib.compress(bytes(draw.choice((10, 2**20, 5 * 2**20))))
    if data.startswith(b"\x89PNG"):
        kind, head = draw.choice(
            ((b"zTXt", b"C\0\0"), (b"iTXt", b"C\0\1\0\0\0"), (b"iCCP", b"p\0\0"), (b"tEXt", b"C\0"))
        )
        part, at = png_chunk(kind, head + large, draw.choice((0, 1))), 33
    elif data.startswith(b"\xff\xd8"):
        body = draw.choice((b"Exif\0\0MM\0*", b"ICC_PROFILE\0\1\1", b"Photoshop 3.0\x008BIM\3\xed"))
        marker = bytes([0xFF, draw.choice((0xE1, 0xE2, 0xED, 0xFE))])
        part, at = marker + struct.pack(">H", len(body) + 32) + body + draw.randbytes(30), 2
    elif data.startswith(b"GIF8"):
        part, at = b"!\xfe" + (b"\xff" + b"c" * 255) * draw.choice((1, 4000)) + b"\0", 13 + 768
    else:
        part, at = draw.choice((b"EXIF", b"XMP ", b"ICCP")) + struct.pack("<I", 2**20), len(data)
    return data[:at] + part + data[at:]


DAMAGES: tuple[Callable[[bytearray, random.Random], bytearray], ...] = (
    flip, flip, flip_early, cut, cut_out, repeat, swap, fill, append, metadata,
)  # fmt: skip


def damaged_image(files: dict[str, list[bytes]], draw: random.Random) -> tuple[str, bytes]:
    """The name of the damage done last, and the file."""
    data = bytearray(draw.choice(files[draw.choice(FORMATS)]))
    damage = draw.choice(DAMAGES)
    for _ in range(draw.choice((1, 1, 2))):
        damage = draw.choice(DAMAGES)
        data = damage(data or bytearray(b"\0"), draw)
    return damage.__name__, bytes(data)


# --- Items -----------------------------------------------------------------------------------


def nested(draw: random.Random) -> Any:
    """Lists and objects in each other, as deep as Python's own writer of JSON goes."""
    value: Any = "x"
    for _ in range(draw.choice((2, 50, 500, 900))):
        value = [value] if draw.random() < 0.5 else {draw.choice(KEYS): value}
    return value


def odd(draw: random.Random) -> Any:
    match draw.randrange(6):
        case 0 | 1:
            return draw.choice(ODD_TEXTS)
        case 2 | 3:
            return copy.deepcopy(draw.choice(ODD_VALUES))
        case 4:
            return nested(draw)
        case _:
            return [draw.choice(ODD_TEXTS), draw.choice(ODD_VALUES)] * draw.choice((1, 2, 200))


def damaged_item(identity: str, draw: random.Random) -> Any:
    """An item of LLaVA's format with one to three changes."""
    turns: list[Any] = [
        {"from": "human", "value": "<image>\nwhat colour?"},
        {"from": "gpt", "value": "red"},
    ] * draw.choice((1, 1, 2, 30))
    turns = [dict(turn) for turn in turns]
    for turn in turns[2:]:
        turn["value"] = turn["value"].replace("<image>", "")
    item: dict[str, Any] = {
        "id": identity, "image": "good.png", "conversations": turns, "group": "local", "model": "m"
    }  # fmt: skip
    for _ in range(draw.choice((0, 1, 1, 2, 3))):
        match draw.randrange(8):
            case 0 | 1:
                item[draw.choice(KEYS)] = odd(draw)
            case 2:
                item.pop(draw.choice(list(item)), None)
            case 3 | 4:
                turn = draw.choice(turns)
                if isinstance(turn, dict):
                    turn[draw.choice(KEYS)] = odd(draw)
            case 5:
                turns.insert(draw.randrange(len(turns) + 1), odd(draw))
            case 6:
                draw.shuffle(turns)
            case _:
                return odd(draw)
    return item


def written(item: Any, draw: random.Random) -> str:
    """The item as JSON; now and then nested deeper than Python's own reader goes."""
    if draw.random() < 0.01:
        depth = draw.choice((988, 1500, 50_000))
        return '{"id": "deep", "image": ' + "[" * depth + "]" * depth + "}"
    return json.dumps(item, ensure_ascii=draw.random() < 0.5).encode("utf-8", "replace").decode()


# --- Parquet ---------------------------------------------------------------------------------


def parquet_file(path: Path, draw: random.Random) -> str:
    """Write a parquet file that is damaged or expands; return what was done to it."""
    rows = draw.choice((1, 5, 70))
    turns = pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())]))
    said = [{"from": "human", "value": "<image>\nhi"}, {"from": "gpt", "value": "ho"}]
    columns: dict[str, Any] = {
        "id": pa.array([f"p{n}" for n in range(rows)]),
        "image": pa.array(["good.png"] * rows),
        "conversations": pa.array([said] * rows, turns),
    }
    kind = draw.choice(("bytes", "bytes", "bytes", "media", "type", "repeats", "nulls", "page"))
    size = draw.choice((2**20, 2**25))
    match kind:
        case "media":
            columns[draw.choice(("video", "images"))] = pa.array([draw.choice(("a", None))] * rows)
        case "type":
            columns[draw.choice(list(columns))] = pa.array([draw.choice(ODD_VALUES[1:4])] * rows)
        case "repeats":
            zeros = np.zeros(rows, np.int32)
            columns["subtask"] = pa.DictionaryArray.from_arrays(zeros, pa.array(["x" * size]))
        case "nulls":
            places = [0] * rows + [size]
            columns["image"] = pa.ListArray.from_arrays(
                pa.array(places, pa.int32()), pa.nulls(size, pa.int8())
            )
        case "page":
            columns["subtask"] = pa.array(["x" * size] * min(rows, 5) + [None] * max(0, rows - 5))
    table = pa.table(columns)
    pq.write_table(table, path, compression=draw.choice(("zstd", "snappy", "none")))
    if kind == "bytes":
        data = flip(bytearray(path.read_bytes()), draw)
        path.write_bytes(draw.choice((flip, fill, cut, cut_out))(data, draw))
    return kind


# --- The campaign ----------------------------------------------------------------------------


class HangError(Exception):
    """A split took longer than it may."""


@contextmanager
def watched(seconds: int) -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise HangError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Campaign:
    """Counts what becomes of inputs; keeps what must not happen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outcomes: dict[str, Counter[str]] = {}
        self.failed: list[str] = []
        self.slowest = 0.0

    def split(self, kind: str, name: str, records: Path | None, images: Path, items: int) -> None:
        """Take one split in; ``items`` is how many the source has, 0 if nobody knows."""
        counts = self.outcomes.setdefault(kind, Counter())
        start = time.monotonic()
        try:
            with watched(SECONDS):
                work = Workspace(self.folder / "work" / name, "prepare", {})
                taken = take_in(open_source(records, images), work, name, records_per_shard=50)
                found = list(Records(taken.folder))
                for record in found:
                    for image in record.images:
                        if image.open().size != (image.width, image.height):
                            raise ValueError(f"{record.id}: another size than recorded")
            if len(found) + len(taken.rejections) != taken.items or items not in (0, taken.items):
                raise ValueError(f"{taken.items} items of {items}, {len(found)} taken")
            for rejection in taken.rejections:
                counts[Reason(rejection.reason)] += 1
                if not 0 < len(rejection.detail) < 600:
                    raise ValueError(f"a reason without or with too many words: {rejection}")
            counts["taken"] += len(found)
        except SourceError as error:
            counts["source refused"] += 1
            named = str(records) in str(error) or f"split {name!r}" in str(error)
            if items or not named or len(str(error)) > 2000:
                self.failed.append(f"{kind}, {name}: {error}"[:500])
        except Exception as error:  # this is what is looked for
            self.failed.append(f"{kind}, {name}: {type(error).__name__}: {error}"[:500])
        self.slowest = max(self.slowest, time.monotonic() - start)
        shutil.rmtree(self.folder / "work" / name, ignore_errors=True)


def images_split(campaign: Campaign, name: str, number: int, draw: random.Random) -> None:
    files, folder = pictures(draw), campaign.folder / name
    folder.mkdir()
    for index in range(number):
        damage, data = damaged_image(files, draw)
        (folder / f"{index:03d}-{damage}").write_bytes(data)
    campaign.split("images", name, None, folder, number)
    shutil.rmtree(folder)


def items_split(
    campaign: Campaign, name: str, number: int, draw: random.Random, good: Path
) -> None:
    path = campaign.folder / f"{name}.json"
    items = [damaged_item(f"i{n}" if n % 20 else "same", draw) for n in range(number)]
    path.write_text("[" + ",\n".join(written(item, draw) for item in items) + "]", "utf-8")
    campaign.split("items", name, path, good, number)
    path.unlink()


def json_file(campaign: Campaign, name: str, draw: random.Random, good: Path) -> None:
    path = campaign.folder / f"{name}.json"
    text = json.dumps([damaged_item(f"i{n}", draw) for n in range(5)]).encode()
    path.write_bytes(draw.choice((flip, fill, cut, cut_out, repeat))(bytearray(text), draw))
    campaign.split("JSON files", name, path, good, 0)
    path.unlink()


def run(count: int, seed: int) -> dict[str, Any]:
    """Feed ``count`` inputs to intake: 60 % images, 30 % items, 8 % JSON and 2 % parquet files."""
    draw = random.Random(seed)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as home, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        campaign = Campaign(Path(home))
        good = Path(home) / "good"
        good.mkdir()
        Image.new("RGB", (16, 12), "red").save(good / "good.png")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        parts = {"images": count * 60 // 100, "json": count * 8 // 100, "parquet": count * 2 // 100}
        parts["items"] = count - sum(parts.values())
        for first in range(0, parts["images"], SPLIT):
            number = min(SPLIT, parts["images"] - first)
            images_split(campaign, f"images{first}", number, draw)
        for first in range(0, parts["items"], SPLIT):
            number = min(SPLIT, parts["items"] - first)
            items_split(campaign, f"items{first}", number, draw, good)
        for index in range(parts["json"]):
            json_file(campaign, f"json{index}", draw, good)
        for index in range(parts["parquet"]):
            path = Path(home) / f"parquet{index}.parquet"
            kind = parquet_file(path, draw)
            campaign.split(f"parquet files, {kind}", path.stem, path, good, 0)
            path.unlink()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        reader = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    growth = (peak - before) * 1024
    if growth > GROWTH:
        campaign.failed.append(f"the peak of memory grew by {growth} bytes, at most {GROWTH}")
    return {
        "count": count,
        "seed": seed,
        "inputs": parts,
        "outcomes": {kind: dict(sorted(c.items())) for kind, c in campaign.outcomes.items()},
        "failed": campaign.failed,
        "peak_growth_mb": round(growth / 1e6),
        "reader_peak_mb": round(reader * 1024 / 1e6),
        "slowest_split_seconds": round(campaign.slowest, 1),
        "seconds": round(time.monotonic() - start, 1),
        "versions": {
            "python": platform.python_version(),
            "pillow": PIL.__version__,
            "pyarrow": pa.__version__,
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file for the result")
    args = parser.parse_args()
    result = run(args.count, args.seed)
    return tell(result, result["failed"], args.out)


if __name__ == "__main__":
    raise SystemExit(main())
