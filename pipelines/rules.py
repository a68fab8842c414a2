"""What each parameter may be, and what is told if it is not: tables for :mod:`pipelines.checks`."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diysink.artifact import check_name


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: the parameter, as ``--params`` would name it.
        came: what it is.
        expected: what it must be.
        remedy: what to do, where ``expected`` does not say it.
    """

    where: str
    came: str
    expected: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{self.where} is {self.came}; expected {self.expected}.{remedy}"


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        expected: the kind in words.
        accepts: whether a value is of it.
        remedy: what to do where it is not.
    """

    expected: str
    accepts: Callable[[Any], bool]
    remedy: str = ""

    @property
    def or_null(self) -> "Kind":
        """The same, or null."""
        return Kind(
            f"{self.expected}, or null", lambda v: v is None or self.accepts(v), self.remedy
        )


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return (_whole(value) or isinstance(value, float)) and math.isfinite(value)


def _seed(value: Any) -> bool:
    return _whole(value) and 0 <= value < 2**32


def _named(value: Any) -> bool:
    try:
        return bool(check_name(value))
    except ValueError:
        return False


def _list(of: Callable[[Any], bool], least: int = 1) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, list | tuple) and len(v) >= least and all(map(of, v))


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _one_of(*choices: str) -> Kind:
    return Kind(f"one of {', '.join(choices)}", lambda v: isinstance(v, str) and v in choices)


def _some_of(*choices: str) -> Kind:
    return Kind(
        f"a list of different ones of {', '.join(choices)}",
        lambda v: _list(lambda each: each in choices)(v) and len(set(v)) == len(v),
    )


def _multiples(value: Any) -> bool:
    return _list(lambda v: _number(v) and v >= 0)(value) and 1 in value


# `--params model.encoder=2024` and YAML's `images: on` are no text.
_QUOTE = "In YAML, write it in quotes; after --params, write a folder as ./2024."
COUNT = Kind("a whole number, 1 or more", lambda v: _whole(v) and v >= 1)
NONE_OR_MORE = Kind("a whole number, 0 or more", lambda v: _whole(v) and v >= 0)
SHARE = Kind("a number from 0 to 1", lambda v: _number(v) and 0 <= v <= 1)
LEVEL = Kind("a number between 0 and 1, such as 0.95", lambda v: _number(v) and 0 < v < 1)
POSITIVE = Kind("a number above 0", lambda v: _number(v) and v > 0)
NOT_NEGATIVE = Kind("a number, 0 or more", lambda v: _number(v) and v >= 0)
SEED = Kind("a whole number from 0 to 4294967295", _seed)
SEEDS = Kind(
    "a list of different whole numbers, such as [0, 1]",
    lambda v: _list(_seed)(v) and len(set(v)) == len(v),
)
TRUTH = Kind("true or false", lambda v: isinstance(v, bool))
TEXT = Kind("text", _text, _QUOTE)
FOLDER = Kind("a folder or file, or the id of a model on the hub", _text, _QUOTE)
NAME = Kind("a name of letters, digits, - and _, with a letter or digit first", _named, _QUOTE)
MODEL_NAME = Kind(  # as diysink.registry has it
    "a name of at most 200 letters, digits, spaces, -, _ and ., with a letter or digit first",
    lambda v: isinstance(v, str) and re.fullmatch(r"[^\W_]([\w .-]{0,198}[\w.-])?", v) is not None,
    _QUOTE,
)
DTYPE = _one_of("float32", "bfloat16", "float16")
ARRANGEMENT = _one_of("natural", "front", "end")
CONNECTORS = ("single", "parameter-matched", "dual", "resampler", "dual-resampler")
DEVICE = Kind(
    "auto, cpu, cuda, cuda:1 or another device of torch",
    lambda v: (
        isinstance(v, str)
        and re.fullmatch(r"(auto|cpu|cuda|mps|xpu|hpu|npu)(:\d+)?", v) is not None
    ),
)
BETAS = Kind(
    "two numbers from 0 to below 1",
    lambda v: _list(lambda b: _number(b) and 0 <= b < 1)(v) and len(v) == 2,
)
DEVICES = Kind(
    "a whole number, 1 or more, -1 or auto for all, or a list of their numbers",
    lambda v: (_whole(v) and (v >= 1 or v == -1)) or _text(v) or _list(_whole)(v),
)
STRATEGY = Kind(
    "auto, or a strategy in _spawn or _fork",
    lambda v: _text(v) and (v == "auto" or v.endswith(("_spawn", "_fork"))),
    "Others start the whole command again for each device, Kedro included.",
)
LAYERS = Kind("a list of whole numbers", _list(_whole)).or_null
WORDS = Kind("a list of at least two texts", _list(_text, 2))

# Patterns of paths, and the kind of value; the first that fits counts.
RULES: tuple[tuple[str, Kind], ...] = (
    # Of the user's names first: one of them may be called `batch`.
    ("sinks.expect.*", _one_of("found", "none").or_null),
    ("prepare.min_group_share.*", SHARE.or_null),
    ("training_free.variants.*", Kind("a mapping with change", lambda v: True)),
    ("align.arrangement.* adopt.connectors.*", ARRANGEMENT),
    ("analyze.claims.roles.*", TEXT.or_null),
    ("seeds", SEEDS),
    ("seed *.seed", SEED),
    ("device", DEVICE),
    ("model.encoder model.language model.sentence sinks.encoders.*.path", FOLDER),
    ("prepare.splits.*.images", FOLDER),
    ("prepare.splits.*.allowed_roots", Kind("a list of folders", _list(_text, 0), _QUOTE).or_null),
    ("prepare.splits.*.records adopt.path lvlm.path analyze.taxonomy.human", FOLDER.or_null),
    ("analyze.labels.table", FOLDER.or_null),
    ("model.profile", NAME),
    ("register.name", MODEL_NAME),
    ("evaluate.variants.*.connector evaluate.variants.*.selection", TEXT),
    ("*revision", TEXT.or_null),
    ("model.dtype sinks.dtype lvlm.dtype", DTYPE),
    ("adopt.dtype", _one_of("auto", "float32", "bfloat16", "float16")),
    ("align.connectors", _some_of(*CONNECTORS)),
    ("evaluate.variants.*.control", _one_of("none", "random-matched")),
    ("evaluate.benchmarks.*.suffix", Kind("text", lambda v: isinstance(v, str))),
    ("evaluate.variants.*.arrangement", ARRANGEMENT.or_null),
    ("prepare.duplicate_ids", _one_of("quarantine", "number")),
    ("prepare.generate.*.kind", _one_of("train", "align", "questions")),
    ("reweight.output", _one_of("softmax", "sigmoid", "free")),
    ("reweight.selectors.*.kind", _one_of("reweight", "lsg")),
    ("reweight.selectors.*.at", _one_of("connector", "keys")),
    ("sinks.calibration.method", _one_of("gap", "fixed", "median")),
    ("sinks.unexpected", _one_of("warn", "stop")),
    ("*.metric", _one_of("exact", "contains")),
    ("analyze.dimensions.checkpoints", _some_of("untrained", "aligned", "finetuned")),
    ("evaluate.cot.scope", Kind("text with {question} in it", lambda v: "{question}" in str(v))),
    ("evaluate.cot.image_choices", Kind("two texts", lambda v: WORDS.accepts(v) and len(v) == 2)),
    ("evaluate.cot.scope_choices", WORDS),
    ("analyze.claims.taus analyze.sweep.taus", Kind("a list of multiples, 1 included", _multiples)),
    ("analyze.weights.weights", Kind("a list of numbers, 1 included", _multiples)),
    ("*.selectors.*.layers analyze.weights.layers analyze.massive.dimensions", LAYERS),
    ("*.compare", Kind("a list of pairs [variant, baseline]", _list(_list(_text, 2), 0))),
    ("*.betas", BETAS),
    ("*.trainer.devices", DEVICES),
    ("*.trainer.strategy", STRATEGY),
    ("promote.rollback", TRUTH),
    ("*.credible.ratio *.credible.spread *.credible.contrast *.credible.attention", POSITIVE),
    ("*.credible.* *.min_share *.warmup_ratio *.quarantine_limit", SHARE),
    ("analyze.taxonomy.local analyze.taxonomy.whole promote.margin", SHARE),
    ("*.level", LEVEL),
    ("*.learning_rate *.ridge *.bandwidth *.scale *.multiple *.fixed *.times *.ratio", POSITIVE),
    ("prepare.image.max_aspect", POSITIVE),
    ("lvlm.tau", POSITIVE.or_null),
    ("*.weight_decay *.gradient_clip_val", NOT_NEGATIVE),
    ("analyze.probes.folds", Kind("a whole number, 2 or more", lambda v: _whole(v) and v >= 2)),
    ("prepare.workers", COUNT),
    ("*.workers *.num_workers *.cache_size *.decode_again *.examples *.differing", NONE_OR_MORE),
    ("*.batch *.batch_size *.steps *.max_steps *.epochs *.items *.images *.questions", COUNT),
    ("*.resamples *.replicates *.max_new_tokens *.hidden", COUNT),
    ("*.accumulate_grad_batches", COUNT),
    ("*.every_n_train_steps *.shard_size *.records_per_shard *.every *.threads", COUNT),
    ("*.bins *.points *.top *.rows *.vocabulary *.scenes *.max_text_bytes", COUNT),
    ("*.min_side *.max_pixels *.max_bytes", COUNT),
)

NEEDED = "needed"

# Mappings whose keys are the user's names, which become folders (null takes one out); and what each
# of them says.
ENTRIES: dict[str, Any] = {
    "prepare.splits": {"images": NEEDED, "records": None, "allowed_roots": None},
    "prepare.generate": {"kind": NEEDED, "images": NEEDED, "questions": None},
    "prepare.min_group_share": None,
    "sinks.encoders": {"path": NEEDED, "revision": None, "layer": -2},
    "sinks.expect": None,
    "reweight.selectors": {"kind": NEEDED, "at": None, "layers": None, "scale": None},
    "evaluate.variants": {
        "connector": NEEDED,
        "arrangement": NEEDED,
        "selection": NEEDED,
        "control": None,
    },
    "evaluate.benchmarks": {"split": None, "metric": None, "suffix": None},
    "training_free.variants": None,
}
# Mappings that take other keys than conf/base shows.
KEYS: dict[str, Any] = {
    "adopt.connectors": dict.fromkeys(CONNECTORS, "natural"),
    "align.arrangement": dict.fromkeys(CONNECTORS, "natural"),
}
# Keys that conf/base does not show: of training functions, which refuse what they do not know; of
# an analysis with sinks at a multiple of tau; of a calibration.
OPEN = "align.connector_options.* miniature.*.* analyze.*.tau training_free.calibration.*"
# Mappings that may be null: an analysis that is not made, a default that stands.
NULL = "analyze.* sinks.expect prepare.splits prepare.generate prepare.image"
NULL += " prepare.min_group_share"


def kind_like(value: Any) -> Kind:
    """The kind of a value of ``conf/base``, for keys that no rule speaks of; null fits all."""
    match value:
        case bool():
            return TRUTH.or_null
        case int():
            return Kind("a whole number", _whole).or_null
        case float():
            return Kind("a number", _number).or_null
        case str() if "${" not in value:
            return TEXT.or_null
        case list():
            return Kind("a list", lambda v: isinstance(v, list | tuple)).or_null
        case _:
            return Kind("anything", lambda v: True)
