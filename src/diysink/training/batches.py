"""Batches that are a pure function of (seed, step, rank, world size), so that resuming is exact.

A run is one long sequence of batches, taken from one shuffle of the records after another. Nothing
is remembered but the step: the batch at step 731 is the same in a run that started at 0 and in one
that was killed and resumed at 700.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from diysink.encoders import ImageProcessor
from diysink.model import IGNORE, ChatEncoder
from diysink.records import PLACEHOLDER, Record, Records
from diysink.training.lengths import TooLong, fitting_lengths


@dataclass
class BatchSchedule(Sampler[list[int]]):
    """Indices of every micro-batch of a run, for one of ``world_size`` processes.

    Attributes:
        items: number of records.
        batch_size: records per micro-batch and process.
        num_batches: micro-batches of the whole run.
        seed: seed of the shuffles.
        rank: this process.
        world_size: number of processes.
        start: first micro-batch to yield; set when a run resumes.

    Raises:
        ValueError: fewer records than one global batch needs.
    """

    items: int
    batch_size: int
    num_batches: int
    seed: int
    rank: int = 0
    world_size: int = 1
    start: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        if self.items < self.batch_size * self.world_size:
            raise ValueError(
                f"{self.items} records are fewer than one global batch of {self.batch_size} x "
                f"{self.world_size}: give more records or a smaller batch"
            )

    @property
    def per_epoch(self) -> int:
        """Micro-batches in one shuffle; the records left over wait for the next one."""
        return self.items // (self.batch_size * self.world_size)

    def at(self, step: int) -> list[int]:
        """Indices of this process's micro-batch number ``step``."""
        epoch, offset = divmod(step, self.per_epoch)
        shuffled = np.random.default_rng([self.seed, epoch]).permutation(self.items)
        first = (offset * self.world_size + self.rank) * self.batch_size
        return [int(i) for i in shuffled[first : first + self.batch_size]]

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.num_batches):
            yield self.at(step)

    def __len__(self) -> int:
        """Of the whole run: Lightning goes on counting where the checkpoint stopped."""
        return self.num_batches


class EncodedRecords(Dataset[dict[str, Any]]):
    """Records as token ids, labels and pixel values.

    Args:
        records: one split.
        chat_encoder: prompts for the model's tokenizer.
        image_processor: images to pixel values.
        cache_size: how many encoded records stay in memory (a small data set is encoded once).
        max_length: how many tokens a dialogue may have, visual ones included. None: no limit. See
            :func:`diysink.model.training_length`.
        too_long: what is done with a longer one; see :mod:`diysink.training.lengths`.

    Attributes:
        lengths: which records are trained on, and how much of each.

    Raises:
        ValueError: no dialogue fits.
    """

    def __init__(
        self,
        records: Records,
        chat_encoder: ChatEncoder,
        image_processor: ImageProcessor,
        cache_size: int = 0,
        max_length: int | None = None,
        too_long: TooLong = "truncate",
    ) -> None:
        self.records = records
        self.chat_encoder = chat_encoder
        self.image_processor = image_processor
        self.cache_size = cache_size
        self.max_length = max_length
        self.lengths = fitting_lengths(records, chat_encoder, max_length, too_long)
        self._cache: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self.lengths.indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index in self._cache:
            return self._cache[index]
        place = self.lengths.indices[index]
        record = self.records[place]
        turns = record.conversations[: self.lengths.turns.get(place)]
        encoded = self.chat_encoder.dialogue(turns)
        # Images belong to the placeholders of their turns.
        shown = sum(turn.text.count(PLACEHOLDER) for turn in turns)
        images = [image.open() for image in record.images[:shown]]
        item = {
            "input_ids": encoded.input_ids,
            "labels": encoded.labels,
            "pixel_values": self.image_processor(images) if images else None,
            "question": first_question(record),
            "group": record.group,
        }
        if len(self._cache) < self.cache_size:
            self._cache[index] = item
        return item

    def collate(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A batch, padded on the right; the images of all its items in one tensor.

        ``questions`` are the texts that a selection reads; ``groups`` those of the records.
        """
        ids, mask = self.chat_encoder.pad([item["input_ids"] for item in items], side="right")
        labels, _ = self.chat_encoder.pad(
            [item["labels"] for item in items], side="right", value=IGNORE
        )
        images = [item["pixel_values"] for item in items if item["pixel_values"] is not None]
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": labels,
            "pixel_values": torch.cat(images) if images else None,
            "questions": tuple(item["question"] for item in items),
            "groups": tuple(item["group"] for item in items),
        }


def first_question(record: Record) -> str:
    """The first human turn without its image placeholders."""
    for turn in record.conversations:
        if turn.speaker == "human":
            return turn.text.replace("<image>", "").strip()
    return ""


class RecordsDataModule(lightning.LightningDataModule):
    """The batches of a run, resumable: its state is the number of micro-batches done.

    Args:
        data: encoded records.
        batch_size: records per micro-batch and process.
        num_batches: micro-batches of the whole run.
        seed: seed of the shuffles.
        num_workers: loader processes (0 = in this one).
    """

    def __init__(
        self,
        data: EncodedRecords,
        *,
        batch_size: int,
        num_batches: int,
        seed: int,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.data = data
        self.batch_size, self.num_batches, self.seed = batch_size, num_batches, seed
        self.num_workers = num_workers
        self.start = 0

    def schedule(self) -> BatchSchedule:
        """This process's schedule from where the run stands."""
        trainer = self.trainer
        rank, world = (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)
        return BatchSchedule(
            len(self.data), self.batch_size, self.num_batches, self.seed, rank, world, self.start
        )

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """The rest of the run's batches."""
        return DataLoader(
            self.data,
            batch_sampler=self.schedule(),
            collate_fn=self.data.collate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def state_dict(self) -> dict[str, int]:
        """Micro-batches done; Lightning puts it into its checkpoint."""
        trainer = self.trainer
        done = 0 if trainer is None else trainer.fit_loop.total_batch_idx + 1
        return {"done": done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after the micro-batches done."""
        self.start = state["done"]
