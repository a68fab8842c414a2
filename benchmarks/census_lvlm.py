"""What does the flow of attention in a language model cost on top of one plain forward?

One interleaved run on the same prompt: the model's own forward under sdpa; the same with all that
the census asks of every layer (rows of the last token and of the text after the image, massive
tokens); and eager attention, which has every matrix to show. Ratios of medians, and the peak of
each, weights included and without them; on a CPU each in a process of its own, whose memory no
other way has touched. Encoding the image is in none. A LLaVA of random weights.
`python -m benchmarks.census_lvlm [--shape medium|7b] [--device cuda] [--out FILE]`.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForImageTextToText

from benchmarks.census import resident
from benchmarks.extraction import medians, record
from diysink.analysis.subject import EncodedImages, Prompts
from diysink.architectures import decoder_layers
from diysink.architectures.hooks import eager_attention, on_hidden_states
from diysink.inspection.flow import Flow, Shown, largest_norm

IMAGE = 5
SHAPES = {  # of the language model, and of the prompt
    "medium": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12,
               "num_attention_heads": 12, "num_key_value_heads": 12, "tokens": 576, "text": 40},
    "long": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12,
             "num_attention_heads": 12, "num_key_value_heads": 4, "tokens": 2880, "text": 60},
    "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
           "num_attention_heads": 32, "num_key_value_heads": 32, "tokens": 2880, "text": 60},
}  # fmt: skip


class OnePrompt:
    """A subject with one prompt, whose image is encoded already."""

    def __init__(self, model: Any, prompts: Prompts) -> None:
        self.inner, self._prompts = model.model, prompts

    def prompts(self, encoded: EncodedImages, texts: list[str]) -> Prompts:
        return self._prompts

    @torch.no_grad()
    def language_states(self, prompts: Prompts, see: Callable[[int, Any], None]) -> None:
        with on_hidden_states(decoder_layers(self.inner.get_decoder()), see):
            self.inner.get_decoder()(**read(prompts), use_cache=False)


def read(prompts: Prompts) -> dict[str, Any]:
    """What the language model is given: states in place of ids."""
    return {name: value for name, value in prompts.inputs.items() if name != "input_ids"}


def peak_of(way: Callable[[], None], cuda: bool) -> tuple[int, int]:
    """Highest memory while it runs, and how much of it was there before."""
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        way()
        return torch.cuda.max_memory_allocated(), before
    before = resident()
    way()
    # Not getrusage, whose maximum a process inherits from the one that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    highest = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return highest * 1024, before


def built(shape: dict[str, int], device: str, dtype: torch.dtype) -> tuple[Any, Prompts]:
    """The model, and a prompt: four tokens, the image, the text."""
    text = {key: value for key, value in shape.items() if key not in ("tokens", "text")}
    tiny = {"model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 32,
            "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28,
            "patch_size": 14}  # fmt: skip
    config = CONFIG_MAPPING["llava"](
        vision_config=tiny, text_config={"model_type": "llama", "vocab_size": 2048} | text,
        image_token_id=IMAGE,
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    with torch.device(device):
        torch.set_default_dtype(dtype)
        model = AutoModelForImageTextToText.from_config(config).eval()
        torch.set_default_dtype(torch.float32)
    length = 4 + shape["tokens"] + shape["text"]
    embeds = torch.randn(1, length, shape["hidden_size"], device=device, dtype=dtype)
    index = torch.arange(4, 4 + shape["tokens"], device=device)[None]
    visual = torch.zeros(1, length, dtype=torch.bool, device=device)
    visual[0, index[0]] = True
    ids = torch.where(visual, IMAGE, 7)
    sinks = largest_norm(torch.randn(1, shape["tokens"])).to(device)
    mask = torch.ones_like(ids)
    own = {"input_ids": ids, "inputs_embeds": embeds, "attention_mask": mask}
    return model, Prompts(own, mask, visual, index, sinks, length)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="medium")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--peak", help="print the peak of this way, and what was there before")
    parser.add_argument("--out", type=Path, help="add the result to this JSON file")
    args = parser.parse_args()
    cuda = args.device.startswith("cuda")
    dtype = torch.bfloat16 if cuda else torch.float32
    torch.manual_seed(0)
    torch.set_num_threads(1)
    shape = SHAPES[args.shape]
    model, prompts = built(shape, args.device, dtype)
    subject = OnePrompt(model, prompts)
    flow = Flow(subject, model.model.get_decoder(), None)
    encoded = EncodedImages(None, prompts.inputs["inputs_embeds"], torch.ones(1, shape["tokens"]),
                            prompts.sinks, (0, 0), 0)  # fmt: skip
    shown = Shown(encoded, prompts.sinks.roll(7, 1), ("image",))
    decoder = model.model.get_decoder()

    def plain() -> None:
        with torch.no_grad():
            decoder(**read(prompts), use_cache=False).last_hidden_state.sum().item()

    def census() -> None:
        flow.layerwise(shown, [""])

    def eager() -> None:
        with torch.no_grad(), eager_attention(model):
            decoder(**read(prompts), use_cache=False).last_hidden_state.sum().item()

    ways = {"plain": plain, "census": census, "eager": eager}
    if args.peak:
        print(json.dumps(peak_of(ways[args.peak], cuda)))
        return
    median = medians(ways, args.steps, cuda)
    found = {}
    for name in ways:  # in the process at hand an allocator may have kept what others needed
        call = [
            sys.executable,
            "-m",
            "benchmarks.census_lvlm",
            "--shape",
            args.shape,
            "--device",
            args.device,
        ]
        printed = subprocess.run([*call, "--peak", name], check=True, stdout=subprocess.PIPE)
        found[name] = json.loads(printed.stdout)
    peaks = {name: peak / 2**20 for name, (peak, _) in found.items()}
    working = {name: (peak - before) / 2**20 for name, (peak, before) in found.items()}
    result = {
        "ratio_census_to_plain": median["census"] / median["plain"],
        "ratio_eager_to_plain": median["eager"] / median["plain"],
        "peak_census_to_plain": peaks["census"] / peaks["plain"],
        "peak_eager_to_plain": peaks["eager"] / peaks["plain"],
        "working_census_to_plain": working["census"] / working["plain"],
        "working_eager_to_plain": working["eager"] / working["plain"],
        "peak_mib": peaks,
        "working_mib": working,
        "median_seconds": median,
        "steps": args.steps,
        "shape": shape,
        "dtype": str(dtype).removeprefix("torch."),
    }
    record(result, args.shape, cuda, args.out)


if __name__ == "__main__":
    main()
