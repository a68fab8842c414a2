"""How fast do training's workers read, decode and encode photographs? What do faster ways change?

Photographs (crops of those in --photos, else soft shapes with noise), in the training's order, to
336 pixels as CLIP wants them. Processor time of one thread, each way in every round; two workers
together with wall time. Then: pixels and patch norms of the faster ways against the exact ones; a
step's order at a million records against a shuffle of all of them; how much padding batches by
length save on long-tailed dialogues; and what the check of lengths takes.
`python -m benchmarks.loader [--photos FOLDER] [--encoder FOLDER] [--out FILE]`
"""

import argparse
import io
import json
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from transformers import CLIPImageProcessorPil

from benchmarks.answer import words
from benchmarks.extraction import machine
from benchmarks.prepare import MILLION, photographs
from diysink.encoders import load_encoder, load_image_processor, to_pixels
from diysink.model import ChatEncoder
from diysink.records import ImageFile, Record, Records, Turn, write_shards
from diysink.training import BatchSchedule, EncodedRecords, fitting_lengths

SIDE, VISUAL, BATCH = 336, 576, 8
SIZES = {"640 x 480": (640, 480), "1280 x 960": (1280, 960)}
CLIP = CLIPImageProcessorPil(
    size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
)


def crops(folder: Path | None, size: tuple[int, int]) -> list[bytes]:
    """JPEGs of one size: of the photographs in a folder, or synthetic ones."""
    if folder is None:
        return photographs(size, 24)
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
            continue
        image = Image.open(path).convert("RGB")
        scale = max(size[0] / image.width, size[1] / image.height)
        if scale <= 2:  # few of the sample are as large
            image = image.resize((round(image.width * scale), round(image.height * scale)))
            file = io.BytesIO()
            image.crop((0, 0, *size)).save(file, "JPEG", quality=90)
            found.append(file.getvalue())
    return found


def dialogue(draws: np.random.Generator) -> tuple[Turn, ...]:
    """Of four turns; how many words is long-tailed."""
    counts = np.exp(draws.normal(3.2, 1.0, 4)).astype(int).clip(1, 600)
    texts = [" ".join(f"w{word}" for word in draws.integers(0, 400, n)) for n in counts]
    texts[0] = f"<image>\n{texts[0]}"
    return tuple(Turn(("human", "gpt")[n % 2], text) for n, text in enumerate(texts))


def written(folder: Path, jpegs: list[bytes], count: int) -> Records:
    draws = np.random.default_rng(0)
    images = [ImageFile.of(jpeg) for jpeg in jpegs]
    write_shards(
        folder,
        (Record(f"{n}", (images[n % len(images)],), dialogue(draws)) for n in range(count)),
        records_per_shard=512,
    )
    return Records(folder)


def milliseconds(
    ways: dict[str, Callable[[int], Any]], items: list[int], rounds: int
) -> dict[str, float]:
    """Median over rounds of the processor time of one item, each way in every round."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            for index in items:
                way(index)
            found[name].append((time.process_time() - start) / len(items) * 1000)
    return {name: round(statistics.median(each), 3) for name, each in found.items()}


def item_times(records: Records, rounds: int) -> dict[str, Any]:
    """One record, part by part and as a whole, in the order of the training."""
    exact = to_pixels(CLIP)
    fast = exact.on("torch")
    chat = ChatEncoder(words(400), VISUAL)
    order = BatchSchedule(len(records), BATCH, 99, 0, ends=records.shard_ends, buffer=1024)
    items = [index for step in range(12) for index in order.at(step)]
    pictures = {index: records[index].images[0] for index in items}
    opened = {index: pictures[index].open() for index in items}
    said = {index: records[index].conversations for index in items}
    ways = {
        "read a record": lambda index: records[index],
        "check, as prepare does": lambda index: ImageFile.of(pictures[index].data),
        "decode": lambda index: pictures[index].open(),
        "decode, draft": lambda index: pictures[index].open(SIDE),
        "pixels, pil": lambda index: exact([opened[index]]),
        "pixels, torch": lambda index: fast([opened[index]]),
        "tokens": lambda index: chat.dialogue(said[index]),
        "all, exact": EncodedRecords(records, chat, exact).__getitem__,
        "all, torch": EncodedRecords(records, chat, fast).__getitem__,
        "all, torch and draft": EncodedRecords(records, chat, fast, draft=SIDE).__getitem__,
    }
    found = milliseconds(ways, items, rounds)
    pair = {name: round(2000 / ms) for name, ms in found.items() if name.startswith("all")}
    return {"milliseconds": found, "images_per_second_of_two_processors": pair}


def two_workers(records: Records) -> dict[str, float]:
    """Images a second of wall time through a DataLoader of two workers."""
    found = {}
    for name in ("pil", "torch"):
        data = EncodedRecords(records, ChatEncoder(words(400), VISUAL), to_pixels(CLIP).on(name))
        schedule = BatchSchedule(len(data), BATCH, 100, 0, ends=data.shard_ends)
        loader = DataLoader(data, batch_sampler=schedule, collate_fn=data.collate, num_workers=2)
        batches = iter(loader)
        for _ in range(10):
            next(batches)
        start = time.perf_counter()
        count = sum(len(batch["questions"]) for batch in batches)
        found[name] = round(count / (time.perf_counter() - start))
    return found


def differences(jpegs: list[bytes], encoder: Path | None) -> dict[str, Any]:
    """Pixels of the faster ways against the exact ones, in steps of 255; and patch norms."""
    images = [ImageFile.of(jpeg) for jpeg in jpegs]
    process = to_pixels(CLIP) if encoder is None else load_image_processor(encoder)
    exact, fast = process, process.on("torch")
    std = torch.tensor(process.processor.image_std)
    one = process.processor.rescale_factor / std[:, None, None]
    tower = None if encoder is None else load_encoder(encoder, -1)
    found: dict[str, Any] = {}
    for name, ways in {
        "torch": (fast, None),
        "draft": (exact, process.side),
        "torch and draft": (fast, process.side),
    }.items():
        steps, norms = [], []
        for image in images:
            pixels = exact([image.open()]), ways[0]([image.open(ways[1])])
            steps.append(((pixels[1] - pixels[0]) / one).abs())
            if tower is not None:
                with torch.inference_mode():
                    first, other = (tower(each).norm(dim=-1) for each in pixels)
                norms.append(((other - first) / first).abs())
        of = torch.cat(steps)
        found[name] = {
            "images": len(images),
            "largest_step": round(float(of.max()), 2),
            "share_that_differ": round(float((of > 0.5).float().mean()), 5),
            "mean_step": round(float(of.mean()), 5),
        }
        if norms:
            of = torch.cat(norms)
            found[name] |= {
                "patch_norm_mean_relative": round(float(of.mean()), 6),
                "patch_norm_largest_relative": round(float(of.max()), 5),
            }
    return found


def order_of_a_million() -> dict[str, float]:
    """Microseconds of one step, once around a buffer, against a shuffle of all for each."""
    ends = tuple(range(1000, MILLION + 1, 1000))
    ways = {
        "shuffle of all records": lambda step: np.random.default_rng([0, 0]).permutation(MILLION),
        "buffers of shards": BatchSchedule(MILLION, BATCH, MILLION, 0, ends=ends).at,
        "buffers, by length": BatchSchedule(
            MILLION, BATCH, MILLION, 0, ends=ends, lengths=np.arange(MILLION) % 997
        ).at,
    }
    found = {}
    for name, way in ways.items():
        steps = 20 if name.startswith("shuffle") else 10_000  # 80,000 records, five buffers
        start = time.process_time()
        for step in range(steps):
            way(step)
        found[name] = round((time.process_time() - start) / steps * 1e6, 1)
    return found


def padding(count: int = 20_000) -> dict[str, Any]:
    """Share of a batch's tokens that is padding, by the true lengths."""
    draws, chat = np.random.default_rng(1), ChatEncoder(words(400), VISUAL)
    dialogues = [dialogue(draws) for n in range(count)]
    true = np.array([len(chat.dialogue(turns).input_ids) for turns in dialogues])
    texts = np.array([sum(len(turn.text) for turn in turns) for turns in dialogues])
    found: dict[str, Any] = {
        "tokens": {str(q): int(np.quantile(true, q)) for q in (0.05, 0.5, 0.95, 1)}
    }
    for batch in (8, 32):
        ways = {"in any order": None, "by length": VISUAL + texts // 4}
        for name, lengths in ways.items():
            schedule = BatchSchedule(count, batch, count // batch, 0, lengths=lengths)
            sizes = true[np.array(list(schedule))]
            padded = sizes.max(axis=1).sum() * batch
            found[f"batches of {batch}, {name}"] = round(1 - sizes.sum() / padded, 4)
    return found


def check_of_lengths(folder: Path, count: int = 20_000) -> dict[str, Any]:
    """Which dialogues fit 2,048 tokens: processor time and memory of what is kept."""
    draws = np.random.default_rng(2)
    # Only texts are read: the image may be a small one.
    image = ImageFile.of(photographs((16, 16), 1)[0])
    write_shards(folder, (Record(f"{n}", (image,), dialogue(draws)) for n in range(count)))
    records, chat = Records(folder), ChatEncoder(words(400), VISUAL)
    start = time.process_time()
    fitting_lengths(records, chat, 2048)
    seconds = time.process_time() - start
    tracemalloc.start()
    kept = fitting_lengths(records, chat, 2048)
    size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {
        "dialogues": count,
        "truncated": kept.counts["truncated"],
        "processor_seconds": round(seconds, 2),
        "kept_bytes_a_dialogue": round(size / count, 1),
        "peak_mib": round(peak / 2**20, 1),
        "extrapolated_to_a_million": {
            "processor_minutes": round(seconds / count * MILLION / 60, 1),
            "kept_mib": round(size / count * MILLION / 2**20),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--encoder", type=Path, help="whose patch norms are compared")
    parser.add_argument("--records", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compared", type=int, default=24, help="images whose pixels are compared")
    parser.add_argument("--dialogues", type=int, default=20_000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"photographs": "synthetic" if args.photos is None else "real"}
    with tempfile.TemporaryDirectory() as temporary:
        for name, size in SIZES.items():
            jpegs = crops(args.photos, size)
            records = written(Path(temporary) / name, jpegs, args.records)
            kilobytes = round(statistics.mean(map(len, jpegs)) / 1000)
            result[name] = {"kilobytes": kilobytes} | item_times(records, args.rounds)
            result[name]["differences"] = differences(jpegs[: args.compared], args.encoder)
            if name == "640 x 480":
                result[name]["images_per_second_through_two_workers"] = two_workers(records)
            print(name, json.dumps(result[name], indent=1), flush=True)
        result["lengths"] = check_of_lengths(Path(temporary) / "lengths", args.dialogues)
    result["microseconds_of_a_step"] = order_of_a_million()
    result["padding"] = padding(args.dialogues)
    result |= machine(False)
    print(json.dumps(result, indent=2))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
