"""What do two processes give against one, for a step of stage 2 on the same global batch?

Two gloo processes of one thread each. In every round a step is made by one of them alone on the
whole batch, by both on a half each (DDP), and by both with the model in parts (FSDP2), one after
the other; the ratios of medians to the one alone, of wall time and of the processor time of the
busier process (a busy machine disturbs that least; it has no waiting). Reading and decoding is in
none.
`torchrun --nproc_per_node 2 -m benchmarks.devices [--steps N] [--out FILE]`
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import torch
import torch.distributed as distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel
from transformers import CLIPVisionConfig, LlamaConfig

from benchmarks.extraction import record
from diysink.model import DIYSinkConfig, DIYSinkForConditionalGeneration
from diysink.training.strategies import shard

VISION = {"hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 4,
          "num_attention_heads": 3, "image_size": 48, "patch_size": 8}  # fmt: skip
TEXT = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 6,
        "num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": 4000}  # fmt: skip
BATCH, WORDS = 16, 60


def build(kind: str) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """The model as a strategy has it, and its optimizer."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(**VISION)
    config = DIYSinkConfig(
        vision_config=vision, text_config=LlamaConfig(**TEXT), image_token_index=3,
        image_seq_length=(vision.image_size // vision.patch_size) ** 2, connector="dual",
        arrangement="front", tau=1e9,
    )  # fmt: skip
    model: torch.nn.Module = DIYSinkForConditionalGeneration(config)
    model.model.vision_tower.requires_grad_(False)
    if kind == "fsdp2":
        shard(model, model.model.language_model.layers, init_device_mesh("cpu", (2,)))
    if kind == "ddp":
        model = DistributedDataParallel(model)
    return model, torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)


def batch(start: int, stop: int) -> dict[str, torch.Tensor]:
    """The dialogues from ``start`` to before ``stop`` of the global batch."""
    torch.manual_seed(1)
    tokens = (VISION["image_size"] // VISION["patch_size"]) ** 2
    ids = torch.randint(4, 4000, (BATCH, tokens + WORDS))
    ids[:, :tokens] = 3
    labels = ids.masked_fill(ids == 3, -100)
    pixels = torch.randn(BATCH, 3, VISION["image_size"], VISION["image_size"])
    rows = slice(start, stop)
    return {"input_ids": ids[rows], "labels": labels[rows], "pixel_values": pixels[rows]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank, half = distributed.get_rank(), BATCH // 2
    models = {kind: build(kind) for kind in ("one", "ddp", "fsdp2")}
    batches = {"one": batch(0, BATCH)}
    batches |= dict.fromkeys(("ddp", "fsdp2"), batch(rank * half, (rank + 1) * half))

    def step(kind: str) -> tuple[float, float]:
        model, optimizer = models[kind]
        distributed.barrier()
        start, spent = time.perf_counter(), time.process_time()
        if kind != "one" or rank == 0:
            model(**batches[kind], use_cache=False).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        busier = torch.tensor(time.process_time() - spent, dtype=torch.float64)
        distributed.all_reduce(busier, distributed.ReduceOp.MAX)
        return time.perf_counter() - start, float(busier)

    clocks = ("wall", "processor")
    seconds: dict[str, dict[str, list[float]]] = {c: {kind: [] for kind in models} for c in clocks}
    for number in range(args.steps + 1):
        for kind in models:
            for clock, took in zip(clocks, step(kind), strict=True):
                if number:  # the first warms up
                    seconds[clock][kind].append(took)
    if rank == 0:
        medians = {
            clock: {kind: statistics.median(times) for kind, times in of.items()}
            for clock, of in seconds.items()
        }
        trained = sum(p.numel() for p in models["one"][0].parameters() if p.requires_grad)
        record(
            {
                "ratios_to_one": {
                    clock: {kind: of[kind] / of["one"] for kind in ("ddp", "fsdp2")}
                    for clock, of in medians.items()
                },
                "median_seconds": medians,
                "steps": args.steps,
                "trained_parameters": trained,
                "tokens_of_a_step": BATCH * batches["one"]["input_ids"].shape[1],
                "processes": 2,
                "load_average": os.getloadavg()[0],
                "threads_of_each": 1,
            },
            "dialogues of 96 tokens",
            False,
            args.out,
        )
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
