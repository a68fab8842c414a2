"""Records as batches of tokens, labels and pixels, in an order that a killed run goes on with."""

from collections.abc import Sequence
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from diysink.encoders import ImageProcessor
from diysink.model import IGNORE, ChatEncoder
from diysink.records import PLACEHOLDER, Record, Records
from diysink.training.lengths import TooLong, fitting_lengths
from diysink.training.schedule import BatchSchedule


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
        draft: as of :meth:`diysink.records.ImageFile.open`.

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
        draft: int | None = None,
    ) -> None:
        self.records = records
        self.chat_encoder = chat_encoder
        self.image_processor = image_processor
        self.cache_size = cache_size
        self.max_length = max_length
        self.draft = draft
        self.lengths = fitting_lengths(records, chat_encoder, max_length, too_long)
        self._cache: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self.lengths.indices)

    @property
    def shard_ends(self) -> tuple[int, ...]:
        """For each shard of the records how many are trained on up to its end."""
        ends = np.searchsorted(self.lengths.indices, self.records.shard_ends)
        return tuple(ends.tolist())

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index in self._cache:
            return self._cache[index]
        place = int(self.lengths.indices[index])
        record = self.records[place]
        turns = record.conversations[: self.lengths.turns.get(place)]
        encoded = self.chat_encoder.dialogue(turns)
        # Images belong to the placeholders of their turns.
        shown = sum(turn.text.count(PLACEHOLDER) for turn in turns)
        images = [image.open(self.draft) for image in record.images[:shown]]
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
        # torch's own stacking writes a worker's pixels straight into the memory that it shares.
        images = [
            image
            for item in items
            if item["pixel_values"] is not None
            for image in item["pixel_values"]
        ]
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": labels,
            "pixel_values": default_collate(images) if images else None,
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
        num_workers: loader processes, which read, decode and encode ahead (0 = in this one).
        group_by_length: whether batches have dialogues of about one length; see `BatchSchedule`.
    """

    def __init__(
        self,
        data: EncodedRecords,
        *,
        batch_size: int,
        num_batches: int,
        seed: int,
        num_workers: int = 0,
        group_by_length: bool = False,
    ) -> None:
        super().__init__()
        self.data = data
        self.batch_size, self.num_batches, self.seed = batch_size, num_batches, seed
        self.num_workers = num_workers
        self.group_by_length = group_by_length
        self.start = 0

    def schedule(self) -> BatchSchedule:
        """This process's schedule from where the run stands."""
        trainer = self.trainer
        rank, world = (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)
        return BatchSchedule(
            len(self.data),
            self.batch_size,
            self.num_batches,
            self.seed,
            rank,
            world,
            self.start,
            ends=self.data.shard_ends,
            lengths=self.data.lengths.tokens if self.group_by_length else None,
        )

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """The rest of the run's batches."""
        return DataLoader(
            self.data,
            batch_sampler=self.schedule(),
            collate_fn=self.data.collate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def state_dict(self) -> dict[str, int]:
        """Micro-batches done; Lightning puts it into its checkpoint."""
        trainer = self.trainer
        done = 0 if trainer is None else trainer.fit_loop.total_batch_idx + 1
        return {"done": done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after the micro-batches done."""
        self.start = state["done"]
