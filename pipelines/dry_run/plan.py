"""What a dry run knows of the run: settings, stages, and which parts it has."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.evaluate.settings import Evaluate, Lvlm
from pipelines.shared import Model

TRAINED = ("align", "finetune", "reweight", "dose")


@dataclass
class Plan:
    """The run that is looked at.

    Attributes:
        parameters: as they were read.
        settings: built of them, by name.
        stages: of the run.
        configs: configurations of transformers of its parts (``encoder``, ``language``, ``lvlm``),
            as far as they are known.
        text_tokens: of a dialogue, without its image.
    """

    parameters: Mapping[str, Any]
    settings: Mapping[str, Any]
    stages: tuple[str, ...]
    configs: dict[str, Any] = field(default_factory=dict)
    text_tokens: int = 0

    @property
    def model(self) -> Model:
        """The pretrained parts."""
        model: Model = self.settings["model"]
        return model

    @property
    def evaluate(self) -> Evaluate:
        """Settings of the stage."""
        evaluate: Evaluate = self.settings["evaluate"]
        return evaluate

    @property
    def lvlm(self) -> Lvlm:
        """The model of variants without training."""
        lvlm: Lvlm = self.settings["lvlm"]
        return lvlm

    @property
    def new_tokens(self) -> int:
        """The most that an answer of the run may have: some benchmarks have limits of their own."""
        limits = {self.evaluate.max_new_tokens}
        if "benchmarks" in self.stages:
            rows = [row for row, _ in self.settings["benchmarks"].rows()]
            limits |= {row.max_new_tokens for row in rows if row.max_new_tokens is not None}
        return max(limits)

    @property
    def trains(self) -> bool:
        """Whether a model is made of a vision encoder and a language model."""
        return bool(set(self.stages) & set(TRAINED))

    @property
    def answers(self) -> bool:
        """Whether variants answer questions."""
        return bool({"evaluate", "benchmarks"} & set(self.stages))

    @property
    def answers_by_lvlm(self) -> bool:
        """Whether a variant is of the vision-language model."""
        return self.answers and bool(self.evaluate.variants.changed)

    def checkpoints(self) -> Iterator[tuple[str, str, str | None, str]]:
        """Parameter, folder or hub id, revision and part of every checkpoint of the run."""
        model = self.model
        if self.trains:
            yield "model.encoder", model.encoder, model.encoder_revision, "encoder"
            yield "model.language", model.language, model.language_revision, "language"
        if self.trains or (self.answers and self.evaluate.variants.trained):
            yield "model.sentence", model.sentence, None, "sentence"
        if "sinks" in self.stages:
            for name, one in self.settings["sinks"].encoders.items():
                part = "encoder" if one.path == model.encoder else ""
                yield f"sinks.encoders.{name}.path", one.path, one.revision, part
        if "adopt" in self.stages:
            yield "adopt.path", self.settings["adopt"].path, self.settings["adopt"].revision, "lvlm"
        if self.answers_by_lvlm and self.lvlm.path is not None:
            yield "lvlm.path", self.lvlm.path, self.lvlm.revision, "lvlm"
        if "inspect" in self.stages:
            inspect = self.settings["inspect"]
            yield "inspect.model", inspect.model, inspect.revision, ""

    def data(self) -> Iterator[tuple[str, str]]:
        """Parameter and path of all data of the run."""
        if "prepare" in self.stages:
            for name, split in self.settings["prepare"].splits.items():
                if split.records is not None:
                    yield f"prepare.splits.{name}.records", split.records
                yield f"prepare.splits.{name}.images", split.images
        if "evaluate" in self.stages and (simple := self.evaluate.simple) is not None:
            yield "evaluate.simple.table", simple.table
        if "analyze" in self.stages and (labels := self.settings["analyze"].labels) is not None:
            yield "analyze.labels.table", labels.table
        if "inspect" in self.stages:
            yield "inspect.images", self.settings["inspect"].images
