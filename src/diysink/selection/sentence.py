"""The question as one vector, from a frozen model.

Two ways: a sentence encoder of its own (a transformers encoder or a sentence-transformers folder),
or nothing but the language model's own input embeddings, averaged. Which one the paper uses is not
known to us.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.utils import cached_file

from diysink.artifact import load_json
from diysink.encoders import checkpoint_source, load_pretrained, load_tokenizer

logger = logging.getLogger(__name__)

Pooling = Literal["mean", "cls"]
# The parameter ``sentence`` with this value: no encoder of its own, but the language model's.
LANGUAGE_MODEL = "language-model"
# Tokenizers without a limit say 1e30.
_NO_LIMIT = 10**9
# Input embeddings are averaged: where nothing says of how many tokens, it is this many.
_MOST_TOKENS = 2048


@dataclass(frozen=True)
class SentenceSettings:
    """How token states become one vector.

    Attributes:
        pooling: ``mean`` over the text's tokens, or ``cls``: the first token's state.
        normalize: scale the vector to length one.
        max_tokens: longer texts are cut; None: at what tokenizer and model say.
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

    Attributes:
        longest: how many tokens of a text are read, special ones included; None: all.
        cut: how many texts were longer so far.
    """

    kind = "encoder"

    def __init__(
        self, model: Any, tokenizer: Any, settings: SentenceSettings | None = None
    ) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.settings = settings or SentenceSettings()
        self.longest = _longest(self.model, tokenizer, self.settings.max_tokens)
        self.cut = 0

    @classmethod
    def load(cls, path: Path | str) -> "SentenceEncoder":
        """From a folder or hub id (safetensors only, no remote code).

        Raises:
            CheckpointError: another kind of checkpoint, or not a whole one.
            BrokenFileError: a file of it is damaged.
            ValueError: it pools in a way that is not supported.
        """
        from transformers import AutoModel

        # A folder of sentence-transformers may keep its transformer below: its settings say so.
        if (Path(path) / "modules.json").is_file():
            SentenceSettings.load(path)
        source = checkpoint_source(path)
        settings = SentenceSettings.load(path)
        model = load_pretrained(
            AutoModel,
            source,
            # Vectors come from token states; a pooling head is not asked, and some lack one.
            optional=lambda name: name.startswith("pooler."),
            trust_remote_code=False,
        )
        return cls(model, load_tokenizer(source), settings)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.model.config.hidden_size)

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Float[Tensor, "batch dim"]:
        """One vector per text; of a text that is too long, of its beginning.

        Zero for a text without tokens.
        """
        coded, cut = _coded(self.tokenizer, texts, self.longest, special=True)
        self.cut = _count(self, cut)
        device = self.model.device
        if not any(coded):
            return torch.zeros(len(texts), self.dim, device=device)
        # Padded on the right: the first token's state is looked for at the left.
        rows = [torch.tensor(ids, dtype=torch.long) for ids in coded]
        fill = self.tokenizer.pad_token_id or 0
        batch = {
            "input_ids": nn.utils.rnn.pad_sequence(rows, True, fill).to(device),
            "attention_mask": nn.utils.rnn.pad_sequence(
                [torch.ones_like(row) for row in rows], True
            ).to(device),
        }
        states = self.model(**batch).last_hidden_state.float()
        match self.settings.pooling:
            case "cls":
                vectors = states[:, 0]
            case "mean":
                mask = batch["attention_mask"].unsqueeze(-1)
                vectors = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        return nn.functional.normalize(vectors, dim=-1) if self.settings.normalize else vectors


class LanguageModelSentences(nn.Module):
    """Mean of the language model's own input embeddings of a text's tokens, scaled to length one.

    It knows no order of words, but needs no model beside the one that answers.

    Args:
        embeddings: the language model's input embeddings; they are shared, not copied.
        tokenizer: its tokenizer.

    Attributes:
        longest: how many tokens of a text are averaged.
        cut: how many texts were longer so far.
    """

    kind = LANGUAGE_MODEL

    def __init__(self, embeddings: nn.Embedding, tokenizer: Any) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.tokenizer = tokenizer
        said = tokenizer.model_max_length
        self.longest = int(said) if 0 < said < _NO_LIMIT else _MOST_TOKENS
        self.cut = 0

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.embeddings.embedding_dim

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Float[Tensor, "batch dim"]:
        """One vector of length one per text; zero for a text without tokens."""
        device = self.embeddings.weight.device
        vectors = []
        rows, cut = _coded(self.tokenizer, texts, self.longest, special=False)
        self.cut = _count(self, cut)
        for coded in rows:
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


def _longest(model: Any, tokenizer: Any, asked: int | None) -> int | None:
    """The least of what the settings, the tokenizer and the model's positions say; None: no limit.

    Models of RoBERTa's kind count positions from behind the padding's index: of 514, 512 are left.
    """
    limits = [asked, tokenizer.model_max_length]
    most = getattr(model.config, "max_position_embeddings", None)
    if isinstance(most, int) and most > 0:
        table = next(
            (
                module
                for name, module in model.named_modules()
                if isinstance(module, nn.Embedding) and name.endswith("position_embeddings")
            ),
            None,
        )
        padding = None if table is None else table.padding_idx
        limits.append(most if padding is None else most - padding - 1)
    known = [int(limit) for limit in limits if limit is not None and 0 < limit < _NO_LIMIT]
    return min(known, default=None)


def _coded(
    tokenizer: Any, texts: Sequence[str], longest: int | None, *, special: bool
) -> tuple[list[list[int]], int]:
    """Token ids of texts, cut to a length that the special tokens are part of; how many were cut.

    Of a text of megabytes no more is tokenised than can be kept.
    """
    rows, cut = [], 0
    for text in texts:
        part, options = text, {"add_special_tokens": special, "verbose": False}
        coded: list[int] = []
        characters = len(text) if longest is None else 8 * (longest + 64)
        while True:
            part = text[:characters]
            coded = tokenizer(part, **options)["input_ids"]
            # Near its end, a part may be other tokens than in the whole text.
            if len(part) == len(text) or len(coded) >= (longest or 0) + 64:
                break
            characters *= 2
        if longest is not None and len(coded) > longest:
            cut += 1
            coded = tokenizer(part, truncation=True, max_length=longest, **options)["input_ids"]
        rows.append(coded)
    return rows, cut


def _count(sentences: "Sentences", cut: int) -> int:
    """How many texts were cut so far; the first time, it is said."""
    if cut and not sentences.cut:
        logger.warning(
            "A question is longer than the %s tokens that question vectors are made of: its "
            "beginning is read. Further ones are counted, not announced",
            sentences.longest,
        )
    return sentences.cut + cut


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
    return None if file is None else load_json(file)
