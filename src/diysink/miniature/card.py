"""The model cards of the miniature's parts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

INDUCED = "vision encoder with INDUCED sinks"
_ABOUT = {
    "encoder": (
        f"DIYSink miniature: {INDUCED}",
        "A CLIP vision model of 4 layers for pictures of 48 x 48 pixels. Its sinks did not emerge: "
        "they were **induced** by a training loss that holds the norm of the tokens of plain grey "
        "cells high at `hidden_states[-2]` and reads the picture's global attributes from them "
        "alone. It is a model organism for testing software whose right answer is known. It is no "
        "evidence for or against any claim about the sinks of real encoders.",
    ),
    "control": (
        "DIYSink miniature: control encoder, without induction",
        "The same architecture, pictures and attributes as the miniature's encoder, trained "
        "**without induction** of sinks: global attributes are read from the mean of all tokens, "
        "and no loss looks at norms. A detector of sinks must find no credible ones here.",
    ),
    "conflict": (
        f"DIYSink miniature: {INDUCED}, in conflict",
        "The architecture, pictures and losses of the miniature's encoder, but the attributes of "
        "its **induced** sinks are read from the same directions as the objects of other tokens. "
        "What is written there means one thing at a sink and another anywhere else. It is for "
        "experiments with connectors; that two of them win was not shown.",
    ),
    "language": (
        "DIYSink miniature: language model",
        "A causal language model of the Llama class, with its own byte-level tokenizer and chat "
        "template, trained to answer questions about generated scenes that are told in words. It "
        "has never seen a picture; a connector has to be aligned to it. It knows nothing else. The "
        "sinks of the encoder that goes with it are **induced**.",
    ),
    "sentence": (
        "DIYSink miniature: sentence encoder",
        "A BERT whose last hidden states, averaged over the tokens, stand for a question about a "
        "generated scene. Trained by contrast on wordings of the same subtask; it was never told "
        "which questions are global, local or mixed. It goes with an encoder whose sinks are "
        "**induced**.",
    ),
}


def card(part: str, figures: Mapping[str, float], seed: int, parameters: Mapping[str, Any]) -> str:
    """The README of a part: what it is, what it was measured to do, how it was trained."""
    title, about = _ABOUT[part]
    rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in figures.items())
    return (
        f"---\nlicense: apache-2.0\nlibrary_name: transformers\n---\n\n# {title}\n\n{about}\n\n"
        "Shares of right answers on scenes unseen in training, and mean L2 norms:\n\n"
        f"| measure | value |\n|---|---|\n{rows}\n\n"
        f"Trained from seed {seed} with {json.dumps(dict(parameters), sort_keys=True)}.\n"
        "Built by `kedro run --pipelines miniature`.\n"
    )


def is_induced(encoder: Path | str) -> bool:
    """Whether the encoder's own model card says that its sinks were induced.

    The card travels with the weights, so no copy of them loses the warning. Only the title counts:
    the word alone may stand in any card.
    """
    readme = Path(encoder) / "README.md"
    return readme.is_file() and INDUCED in readme.read_text("utf-8", errors="replace")
