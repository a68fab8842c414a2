"""What does each way of answering cost, next to a plain answer?

One interleaved run over the same questions: every way once a round, in another order each round, as
a ratio to `base` in the same round. All rounds are kept, so that a reader can put an interval on
the median (`diysink.claims.cost`). Memory: the peak that a way allocates on top of the weights.
FLOPs of reading the prompt (and of everything asked before answering, and of the image) are counted
by PyTorch while it runs; at `--shapes 7b` with one and with two language-model layers, from which
all 32 follow exactly, because every layer costs the same.

    python benchmarks/answer.py                         # the miniature's shapes, on a CPU
    python benchmarks/answer.py --flops                 # LLaVA-1.5-7B's shapes: counted, not timed
    python benchmarks/answer.py --shapes 7b --device cuda

Weights are random; a question has 45 tokens, an answer 16; one visual token in 12 (tiny) or in 120
(7b: about 5 of 576, as in the paper) is a sink.
"""

import argparse
import dataclasses
import json
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, BertConfig, BertModel, PreTrainedTokenizerFast

from diysink.model import (
    CachedScorer,
    ChatEncoder,
    DIYSinkConfig,
    DIYSinkForConditionalGeneration,
    PromptScorer,
    selections_of,
)
from diysink.selection import (
    Choice,
    CoTSelection,
    CoTTemplates,
    LayerGates,
    LayerGatesSettings,
    LSGSelection,
    QuestionBatch,
    Reweight,
    ReweightSelection,
    ReweightSettings,
    Route,
    Selection,
    SentenceEncoder,
)

QUESTION, ANSWER = 45, 16
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "vision": {"hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 4,
                   "num_attention_heads": 3, "image_size": 48, "patch_size": 8},
        "text": {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4,
                 "num_attention_heads": 4, "num_key_value_heads": 4},
        "sentence": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
                     "num_attention_heads": 2},
        "lsg": (1, 2), "batch": 8, "sink_share": 1 / 12,
    },
    "7b": {
        "vision": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
                   "num_attention_heads": 16, "image_size": 336, "patch_size": 14},
        "text": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
                 "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32064},
        "sentence": {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6,
                     "num_attention_heads": 12, "vocab_size": 30522},
        "lsg": (3, 6, 7, 10, 19), "batch": 1, "sink_share": 1 / 120,
    },
    "0.5b": {  # the paper's small model: SigLIP so400m and Qwen2-0.5B
        "vision": {"model_type": "siglip_vision_model", "hidden_size": 1152,
                   "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16,
                   "image_size": 384, "patch_size": 14},
        "text": {"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,
                 "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
                 "vocab_size": 151936, "tie_word_embeddings": True},
        "sentence": {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6,
                     "num_attention_heads": 12, "vocab_size": 30522},
        "lsg": tuple(range(24)), "batch": 1, "sink_share": 1 / 120,
    },
}  # fmt: skip
Way = Callable[[], Any]


@dataclasses.dataclass
class Bench:
    """A model of random weights and what it is asked."""

    model: DIYSinkForConditionalGeneration
    chat_encoder: ChatEncoder
    questions: QuestionBatch
    sentence: SentenceEncoder
    lsg: tuple[int, ...]

    def answer(self, selection: Selection | None, new_tokens: int) -> torch.Tensor:
        """Choose, then answer, from pixel values to the last token."""
        choice = None if selection is None else selection(self.questions)
        rows = [self.chat_encoder.question(f"<image>\n{text}") for text in self.questions.texts]
        ids, mask = self.chat_encoder.pad(rows, side="left")
        return self.model.generate(
            input_ids=ids.to(self.model.device),
            attention_mask=mask.to(self.model.device),
            pixel_values=self.questions.pixel_values,
            selection=choice,
            max_new_tokens=new_tokens,
            min_new_tokens=new_tokens,
            do_sample=False,
            pad_token_id=0,
        )


def words(size: int) -> PreTrainedTokenizerFast:
    """One token a word; unknown words are one token too, as only their number matters."""
    vocabulary = ["<pad>", "</s>", "<unk>", "<image>", "USER:", "ASSISTANT:"]
    vocabulary += ["simple", "complex", "whole", "detail", "both"]
    vocabulary += [f"w{i}" for i in range(size - len(vocabulary))]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        additional_special_tokens=["<image>"],
        chat_template=(
            "{% for m in messages %}{% if m.role == 'user' %}USER: {{ m.content }} "
            "{% else %}ASSISTANT: {{ m.content }} </s> {% endif %}{% endfor %}"
            "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
        ),
    )  # fmt: skip


def configured(default: str, shapes: Mapping[str, Any], **options: Any) -> Any:
    """A configuration of transformers; ``default`` is its kind where the shapes name none."""
    return AutoConfig.for_model(**{"model_type": default, **shapes, **options})


@contextmanager
def made_as(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Weights that are made inside are made on the device, in this type."""
    with torch.device(device):
        torch.set_default_dtype(dtype)
        try:
            yield
        finally:  # also where the memory is not enough
            torch.set_default_dtype(torch.float32)


def random_model(
    shapes: Mapping[str, Any], device: str, dtype: torch.dtype
) -> DIYSinkForConditionalGeneration:
    """DIYSink with its dual connector and random weights, on its device."""
    torch.manual_seed(0)
    vision = configured("clip_vision_model", shapes["vision"])
    text = {"vocab_size": 400, **shapes["text"]}
    config = DIYSinkConfig(
        vision_config=vision,
        text_config=configured(
            "llama", text, pad_token_id=0, eos_token_id=1, max_position_embeddings=2048
        ),
        image_token_index=3,
        image_seq_length=(vision.image_size // vision.patch_size) ** 2,
        vision_feature_select_strategy=(
            "full" if vision.model_type.startswith("siglip") else "default"
        ),
        connector="dual",
        arrangement="front",
    )
    with made_as(device, dtype):
        return DIYSinkForConditionalGeneration(config).eval()


def build(shapes: dict[str, Any], device: str, dtype: torch.dtype, layers: int | None) -> Bench:
    """The model, on its device; ``layers`` of its language model, or all."""
    depth = layers or shapes["text"]["num_hidden_layers"]
    text = shapes["text"] | {"num_hidden_layers": depth}
    model = random_model({**shapes, "text": text}, device, dtype)
    with made_as(device, dtype):
        sentence = BertModel(BertConfig(**{"vocab_size": 400, **shapes["sentence"]}))
    batch, side = shapes["batch"], model.config.vision_config.image_size
    pixels = torch.randn(batch, 3, side, side).to(device, dtype)
    with torch.no_grad():
        norms = model.model.visual_states(pixels).float().norm(dim=-1)
    model.config.tau = float(norms.quantile(1 - shapes["sink_share"]))
    texts = [" ".join(f"w{(7 * i + j) % 300}" for j in range(QUESTION)) for i in range(batch)]
    return Bench(
        model,
        ChatEncoder(words(400), model.config.image_seq_length),
        QuestionBatch.about(texts, pixels),
        SentenceEncoder(sentence, words(400)),
        tuple(n for n in shapes["lsg"] if n < depth) or tuple(range(depth)),
    )


def ways(bench: Bench) -> dict[str, Selection | None]:
    """Every way of answering, as a selection; CoT on each of its routes."""
    model, dim = bench.model, bench.model.config.text_config.hidden_size
    device, dtype = model.device, model.dtype
    named = selections_of(model, bench.chat_encoder)
    reweight = Reweight(ReweightSettings(dim=bench.sentence.dim)).to(device, dtype)
    gates = LayerGates(LayerGatesSettings(dim, bench.lsg)).to(device, dtype)
    cot = {
        "cot, whole prompts": PromptScorer(model, bench.chat_encoder),
        "cot, cached": CachedScorer(model, bench.chat_encoder),
        "cot, cached, sinks": CachedScorer(model, bench.chat_encoder, Route.SINK),
    }
    found: dict[str, Selection | None] = {
        "base": None,
        "front": lambda questions: None,  # the base is arranged naturally; see run_ways
        "sinks only": named["sink"],
        "reweight": ReweightSelection(bench.sentence, reweight),
        "reweight at keys": ReweightSelection(bench.sentence, reweight, at="keys"),
        "lsg": LSGSelection(gates),
        "cot, soft": CoTSelection(cot["cot, cached"], CoTTemplates(), soft=True),
    }
    for name, scorer in cot.items():
        asks = CoTSelection(scorer, CoTTemplates())
        for route in Route:
            found[f"{name}: {route}"] = _routed(asks, route)
    return found


def _routed(asks: CoTSelection, route: Route) -> Selection:
    """CoT that asks as always, and then takes ``route`` whatever the answer was."""

    def choose(questions: QuestionBatch) -> Choice:
        choice = asks(questions)
        return dataclasses.replace(choice, routes=(route,) * len(choice.routes))

    return choose


def run_ways(bench: Bench, new_tokens: int) -> dict[str, Way]:
    """Every way as something to call; the plain answer and the moved one differ in order only."""

    def call(name: str, selection: Selection | None) -> Way:
        def run() -> Any:
            bench.model.config.arrangement = "natural" if name == "base" else "front"
            return bench.answer(None if name == "front" else selection, new_tokens)

        return run

    return {name: call(name, selection) for name, selection in ways(bench).items()}


def timed(
    run: dict[str, Way], rounds: int, device: str, *, warm_up: int = 1
) -> dict[str, dict[str, Any]]:
    """Median seconds of each way, and in each round its ratio to base."""
    # On a CPU: processor time of one thread, which a busy machine disturbs least.
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in run}
    for turn in range(rounds + warm_up):
        # In another order each round: what runs after a large one finds colder caches.
        for name in random.Random(turn).sample(list(run), len(run)):
            start = clock()
            run[name]()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            if turn >= warm_up:
                seconds[name].append(clock() - start)
    return {
        name: {
            "seconds": statistics.median(times),
            "ratios": [round(t / b, 4) for t, b in zip(times, seconds["base"], strict=True)],
        }
        for name, times in seconds.items()
    }


def peak(way: Way, device: str) -> int:
    """Bytes allocated at the peak, beyond what stood there before."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        way()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        way()
    highest = current = 0
    for event in trace.profiler.kineto_results.events():
        if event.name() == "[memory]":
            current += event.nbytes()
            highest = max(highest, current)
    return highest


def flops(shapes: dict[str, Any]) -> dict[str, dict[str, float]]:
    """FLOPs up to the first token of an answer, of the whole depth, in TFLOP and as a ratio."""
    depth = shapes["text"]["num_hidden_layers"]
    counted: list[dict[str, int]] = []
    for layers in (1, 2):
        bench = build({**shapes, "lsg": (0,)}, "cpu", torch.float32, layers)
        counted.append({})
        for name, way in run_ways(bench, 1).items():
            with FlopCounterMode(display=False) as counter:
                way()
            counted[-1][name] = counter.get_total_flops()
        del bench
    one, two = counted
    total = {name: one[name] + (depth - 1) * (two[name] - one[name]) for name in one}
    return {
        name: {"tflop": value / 1e12, "ratio": value / total["base"]}
        for name, value in total.items()
    }


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", choices=SHAPES, default="tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--flops", action="store_true", help="count 7b's FLOPs in place of timing")
    parser.add_argument("--note", help="on the machine: kept with the results")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1 if not args.flops else torch.get_num_threads())
    cuda = args.device.startswith("cuda")
    shapes = SHAPES["7b" if args.flops else args.shapes]
    result: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "question_tokens": QUESTION,
        "answer_tokens": ANSWER,
        "shapes": shapes,
        "device": torch.cuda.get_device_name() if cuda else platform.machine(),
        "threads": torch.get_num_threads(),
        **({"note": args.note} if args.note else {}),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
    }
    if args.flops:
        result["prefill_flops"] = flops(shapes)
        column = {name: row["ratio"] for name, row in result["prefill_flops"].items()}
    else:
        dtype = torch.bfloat16 if cuda else torch.float32
        bench = build(shapes, args.device, dtype, None)
        run = run_ways(bench, ANSWER)
        result |= {"rounds": args.rounds, "latency": timed(run, args.rounds, args.device)}
        peaks = {name: peak(way, args.device) for name, way in run.items()}
        for name, size in peaks.items():
            result["latency"][name] |= {"peak_mb": size / 1e6, "peak_ratio": size / peaks["base"]}
        column = {n: statistics.median(row["ratios"]) for n, row in result["latency"].items()}
    for name, ratio in column.items():
        print(f"{name:32} {ratio:.3f}")
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
