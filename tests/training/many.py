"""A tiny model trained with a global batch of 8, by one process or several; and their script."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from diysink.records import Records
from diysink.training import (
    ConnectorTraining,
    EncodedRecords,
    FitSettings,
    LanguageTraining,
    RecordsDataModule,
    fit,
)
from tests.tiny_models import assemble_tiny

STAGES = {"connector": ConnectorTraining, "language": LanguageTraining}


def train(parts, records, folder, name, *, strategy="auto", devices=1, stage="language", steps=50,
          accumulate=2, lora=None, dies=None, sgd=False, **settings):  # fmt: skip
    """Its curve, and the trained model's weights.

    ``dies``: a rank and a step, at whose beginning it is killed.
    """
    made = assemble_tiny(parts, connector="dual", arrangement="front")
    made.model.config.tau = 3.4
    data = EncodedRecords(Records(records), made.chat_encoder, made.image_processor, 100)
    training = STAGES[stage](
        made.model, learning_rate=1e-2, max_steps=steps, warmup_ratio=0.1, weight_decay=0.1,
        seed=3, **({} if lora is None else {"lora": lora}),
    )  # fmt: skip
    if sgd:  # AdamW's steps hardly depend on the size of a gradient
        training.configure_optimizers = lambda: torch.optim.SGD(
            [p for p in training.parameters() if p.requires_grad], lr=1.0
        )
    if dies:
        die(training, *dies, Path(folder) / "died")
    settings = FitSettings(
        accelerator="cpu", strategy=strategy, devices=devices, every_n_train_steps=7,
        accumulate_grad_batches=accumulate, enable_progress_bar=False, **settings,
    )  # fmt: skip
    batches = RecordsDataModule(
        data, batch_size=8 // devices // accumulate, num_batches=steps * accumulate, seed=3
    )
    rows = fit(training, batches, settings, Path(folder) / name)
    model = training.merged() if stage == "language" else training.model
    return rows, {name: t.detach().clone() for name, t in model.state_dict().items()}


def die(training, rank, step, note):
    """Let one process be killed as it begins a step; when that was is written down."""
    plain = training.training_step

    def dying(batch, batch_idx):
        if (training.global_rank, training.global_step) == (rank, step):
            note.write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(batch, batch_idx)

    training.training_step = dying


def main(job):
    """Each process: one training after the other; rank 0 writes what came out."""
    for settings in job["trainings"]:
        rows, weights = train(Path(job["parts"]), job["records"], job["folder"], **settings)
        if torch.distributed.get_rank() == 0:
            place = Path(job["folder"]) / f"{settings['name']}.json"
            save_file(weights, place.with_suffix(".safetensors"))
            place.write_text(json.dumps(rows))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
