"""The question as one vector, from a frozen model.

Two ways: a sentence encoder of its own (a transformers encoder or a sentence-transformers folder),
or nothing but the language model's own input embeddings, averaged. Which one the paper uses is not
known to us.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.utils import cached_file

from diysink.encoders import quiet_loading

Pooling = Literal["mean", "cls"]
# The parameter ``sentence`` with this value: no encoder of its own, but the language model's.
LANGUAGE_MODEL = "language-model"


@dataclass(frozen=True)
class SentenceSettings:
    """How token states become one vector.

    Attributes:
        pooling: ``mean`` over the text's tokens, or ``cls``: the first token's state.
        normalize: scale the vector to length one.
        max_tokens: longer texts are cut; None: at what the tokenizer says.
    """

    pooling: Pooling = "mean"
    normalize: bool = True
    max_tokens: int | None = None

    @classmethod
    def load(cls, path: Path | str) -> "SentenceSettings":
        """As the files of a sentence-transformers folder say; without ``modules.json``, as above.

        Args:
            path: folder or hub id.

        Raises:
            ValueError: a module or a pooling that is not one of the above.
        """
        modules = _json(path, "modules.json")
        if modules is None:
            return cls()
        # Their modules by the last part of their names, which is what stayed through its versions.
        kinds = {module["type"].rpartition(".")[2]: module["path"] for module in modules}
        if unknown := sorted(kinds.keys() - {"Transformer", "Pooling", "Normalize"}):
            raise ValueError(
                f"the sentence encoder {path} has modules {', '.join(unknown)}, which are not "
                "supported; choose one that is Transformer, Pooling and perhaps Normalize"
            )
        if kinds.get("Transformer"):
            raise ValueError(
                f"the sentence encoder {path} keeps its transformer in {kinds['Transformer']!r}; "
                "save it with the transformer at the top of the folder"
            )
        own = _json(path, "sentence_bert_config.json") or {}
        if own.get("do_lower_case"):
            raise ValueError(
                f"the sentence encoder {path} lowers case outside its tokenizer, which is not "
                "supported; set do_lower_case in its tokenizer_config.json instead"
            )
        pooling = _pooling(path, _json(path, f"{kinds.get('Pooling')}/config.json") or {})
        return cls(pooling, "Normalize" in kinds, own.get("max_seq_length"))


class SentenceEncoder(nn.Module):
    """A transformer's last hidden states over a text's tokens, pooled.

    Args:
        model: any transformers encoder whose output has ``last_hidden_state``.
        tokenizer: its tokenizer.
        settings: how states are pooled.
    """

    kind = "encoder"

    def __init__(
        self, model: Any, tokenizer: Any, settings: SentenceSettings | None = None
    ) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.settings = settings or SentenceSettings()

    @classmethod
    def load(cls, path: Path | str) -> "SentenceEncoder":
        """From a folder or hub id (safetensors only, no remote code)."""
        from transformers import AutoModel, AutoTokenizer

        settings = SentenceSettings.load(path)
        with quiet_loading():
            model = AutoModel.from_pretrained(path, use_safetensors=True, trust_remote_code=False)
        return cls(model, AutoTokenizer.from_pretrained(path, trust_remote_code=False), settings)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.model.config.hidden_size)

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Float[Tensor, "batch dim"]:
        """One vector per text."""
        batch = self.tokenizer(
            list(texts),
            padding=True,
            padding_side="right",  # the first token's state is looked for at the left
            truncation=True,
            max_length=self.settings.max_tokens,
            return_tensors="pt",
        )
        batch = {
            name: batch[name].to(self.model.device) for name in ("input_ids", "attention_mask")
        }
        states = self.model(**batch).last_hidden_state.float()
        match self.settings.pooling:
            case "cls":
                vectors = states[:, 0]
            case "mean":
                mask = batch["attention_mask"].unsqueeze(-1)
                vectors = (states * mask).sum(1) / mask.sum(1)
        return nn.functional.normalize(vectors, dim=-1) if self.settings.normalize else vectors


class LanguageModelSentences(nn.Module):
    """Mean of the language model's own input embeddings of a text's tokens, scaled to length one.

    It knows no order of words, but needs no model beside the one that answers.

    Args:
        embeddings: the language model's input embeddings; they are shared, not copied.
        tokenizer: its tokenizer.
    """

    kind = LANGUAGE_MODEL

    def __init__(self, embeddings: nn.Embedding, tokenizer: Any) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.tokenizer = tokenizer

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.embeddings.embedding_dim

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Float[Tensor, "batch dim"]:
        """One vector of length one per text; zero for a text without tokens."""
        device = self.embeddings.weight.device
        vectors = []
        for coded in self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]:
            ids = torch.tensor(coded, dtype=torch.long, device=device)
            vectors.append(self.embeddings(ids).float().sum(0) / max(1, len(coded)))
        return nn.functional.normalize(torch.stack(vectors), dim=-1)


Sentences = SentenceEncoder | LanguageModelSentences


def load_sentences(source: Path | str, embeddings: nn.Embedding, tokenizer: Any) -> Sentences:
    """What a parameter ``sentence`` names.

    Args:
        source: folder or hub id of a sentence encoder, or ``language-model``.
        embeddings: the language model's input embeddings.
        tokenizer: the language model's tokenizer.
    """
    if source == LANGUAGE_MODEL:
        return LanguageModelSentences(embeddings, tokenizer)
    return SentenceEncoder.load(source)


def _pooling(path: Path | str, config: dict[str, Any]) -> Pooling:
    """The one pooling that a Pooling module's file names: by a name, or as one flag of several."""
    prefix = "pooling_mode_"
    rules = [
        name.removeprefix(prefix) for name in config if name.startswith(prefix) and config[name]
    ]
    rules += [config["pooling_mode"]] if "pooling_mode" in config else []
    match rules:
        case ["mean_tokens" | "mean"]:
            return "mean"
        case ["cls_token" | "cls"]:
            return "cls"
    raise ValueError(
        f"the sentence encoder {path} pools by {' and '.join(map(str, rules)) or 'no known rule'}; "
        "supported is one of mean and cls"
    )


def _json(path: Path | str, name: str) -> Any:
    """A JSON file of a folder or hub model; None where there is none."""
    file = cached_file(str(path), name, _raise_exceptions_for_missing_entries=False)
    return None if file is None else json.loads(Path(file).read_text())
