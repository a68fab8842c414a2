"""One shard of records to statistics: a pure function, the same wherever it runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from diysink.device import DTYPES, resolve_device, threads
from diysink.encoders import Encoder, ImageProcessor, load_encoder, load_image_processor
from diysink.records import ImageFile, Records
from diysink.sinks import (
    Layout,
    Statistics,
    attention_relative_to_even,
    measure,
    patch_contrast,
    total,
)


@dataclass(frozen=True)
class Task:
    """What is measured and how: all that shards of one measurement share.

    Attributes:
        records: folder of one split.
        encoder: folder or hub id.
        revision: of a hub id.
        layer: index into the hidden states, as for `diysink.encoders.load_encoder`.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        device: as for `resolve_device`.
        batch_size: images to a forward pass.
        threads: of torch, in each process. Another number may change the last bit of a float.
    """

    records: str
    encoder: str
    revision: str | None = None
    layer: int = -2
    dtype: str = "float32"
    device: str = "auto"
    batch_size: int = 64
    threads: int = 1

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype is {self.dtype!r}; it must be one of {', '.join(DTYPES)}.")
        if self.batch_size < 1 or self.threads < 1:
            raise ValueError(
                f"batch_size is {self.batch_size} and threads {self.threads}; both must be at "
                "least 1."
            )


@dataclass(frozen=True)
class ShardSpec:
    """Every ``step``-th record from ``start`` to before ``stop`` of a task, on one grid."""

    task: Task
    layout: Layout
    start: int
    stop: int
    step: int = 1


def encode_shard(spec: ShardSpec) -> Statistics:
    """Statistics of all images of the shard's records; an image counts as often as it occurs."""
    task, layout = spec.task, spec.layout
    encoder, process = loaded(task)
    device = next(encoder.parameters()).device
    records = Records(task.records)
    places = range(spec.start, spec.stop, spec.step)
    images = [image for index in places for image in records[index].images]
    parts = []
    # Not inference_mode: a model may cache what it computes (BEiT its relative positions, for the
    # whole process), and tensors of inference mode cannot be trained with later.
    with threads(task.threads), torch.no_grad():
        for first in range(0, len(images), task.batch_size):
            batch = images[first : first + task.batch_size]
            pixels = process([image.open() for image in batch])
            seen = encoder.observe(pixels.to(device, DTYPES[task.dtype]))
            parts.append(
                measure(
                    layout,
                    seen.hidden,
                    attention_relative_to_even(seen.attention, seen.tokens),
                    patch_contrast(pixels, *encoder.grid(pixels)),
                    [image.sha256 for image in batch],
                )
            )
    return total(parts, layout)


@lru_cache(maxsize=1)
def loaded(task: Task) -> tuple[Encoder, ImageProcessor]:
    """The encoder and its image processor; kept for the next shard of the same task."""
    encoder = load_encoder(task.encoder, task.layer, task.revision, dtype=DTYPES[task.dtype])
    encoder = encoder.to(resolve_device(task.device))
    return encoder, load_image_processor(task.encoder, task.revision)


def first_image(records: Records) -> ImageFile:
    """The first image of the records.

    Raises:
        ValueError: no record has an image.
    """
    for index in range(len(records)):
        if records[index].images:
            return records[index].images[0]
    raise ValueError(f"None of the {len(records)} records has an image: nothing can be measured.")


def split(
    task: Task, layout: Layout, records: int, size: int, every: int = 1
) -> Sequence[ShardSpec]:
    """Shards of ``size`` records each (the last may be smaller), of every ``every``-th record.

    Raises:
        ValueError: either number is not positive.
    """
    if size < 1 or every < 1:
        raise ValueError(f"Shards of {size} records, every {every}th: both must be at least 1.")
    reach = size * every
    starts = range(0, records, reach)
    return [ShardSpec(task, layout, start, min(start + reach, records), every) for start in starts]
