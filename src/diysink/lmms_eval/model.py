"""The models that lmms-eval asks; it imports this module by the name in the manifest."""

import logging
import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from lmms_eval.api.instance import GenerationResult
from lmms_eval.api.model import lmms
from rich.progress import track

from diysink.evaluation.predict import Replies
from diysink.lmms_eval.answering import answering
from diysink.lmms_eval.asked import Decoding, batches, parts_of, record_of, visual_parts
from diysink.records import Record

logger = logging.getLogger(__name__)


class DIYSink(lmms):
    """Any model of `diysink.architectures.LVLMS` or of this project, as a simple model.

    Args:
        pretrained: folder or hub id.
        batch_size: requests that are answered together.
        max_batch_size: lmms-eval's, for ``auto``; there is none here.
        max_new_tokens: length limit of an answer where a task gives none.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ...
        revision, selection, intervention, random_matched, profile, tau, seed, dtype: see
            `diysink.lmms_eval.answering.answering`.
        options: of the intervention.

    Raises:
        ValueError: arguments that do not exist or do not fit together.
    """

    is_simple = True

    def __init__(
        self,
        pretrained: str,
        *,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        max_new_tokens: int = 1024,
        device: str | None = None,
        revision: str | None = None,
        selection: str | None = None,
        intervention: str = "none",
        random_matched: bool = False,
        profile: str | None = None,
        tau: float | None = None,
        seed: int = 0,
        dtype: str = "bfloat16",
        **options: Any,
    ) -> None:
        super().__init__()
        if max_batch_size is not None or not str(batch_size).isdecimal() or int(batch_size) < 1:
            raise ValueError(f"batch_size is {batch_size!r}; expected a number from 1, not auto")
        self.batch_size = int(batch_size)
        self.max_new_tokens = int(max_new_tokens)
        self._around = ExitStack()  # what is done to visual tokens lasts until `clean`
        self._answering = self._around.enter_context(
            answering(
                str(pretrained),
                revision=revision,
                selection=selection,
                intervention=intervention,
                options=options,
                random_matched=random_matched,
                profile=profile,
                tau=tau,
                seed=seed,
                dtype=dtype,
                device=device or "auto",
            )
        )

    def clean(self) -> None:
        """Forget the model."""
        self._around.close()
        del self._answering
        super().clean()

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Greedy answers.

        Raises:
            ValueError: a task that asks for more than greedy answers about images.
        """
        decodings = [
            Decoding.of(self._settings(request.args), self.max_new_tokens) for request in requests
        ]
        answers = [""] * len(requests)
        lengths = [len(request.args[0]) for request in requests]
        for batch in self._shown(batches(decodings, lengths, self.batch_size)):
            decoding = decodings[batch[0]]
            self._answering.set(max_new_tokens=decoding.max_new_tokens, likelihoods=False)
            records = [self._record(number, requests[number].args) for number in batch]
            taken = {
                number: record
                for number, record in zip(batch, records, strict=True)
                if self._takes(record)
            }
            replies = self._answer(list(taken.values()))
            for number, text in zip(taken, replies.texts, strict=True):
                answers[number] = decoding.ended(text)
        return answers

    def loglikelihood(self, requests: Sequence[Any]) -> list[Any]:
        """How far continuations are from what the model would say.

        lmms-eval's own tasks take the choice of the *smallest* value, as its models give a loss.

        Returns:
            Of each the mean negative log-likelihood of its tokens, end of turn included, and
            whether it is the greedy answer; as the content of a `GenerationResult`, because
            lmms-eval 0.7.3 makes a text of a bare pair, with which its own tasks then fail.

        Raises:
            ValueError: a continuation without an image in its context.
        """
        if any(len(request.args) != 6 for request in requests):
            raise ValueError(
                "the task asks for log-likelihoods without images (metric acc_mutual_info), which "
                "are not measured here: leave that metric out"
            )
        found = [(math.inf, False)] * len(requests)
        lengths = [len(request.args[0]) for request in requests]
        for batch in self._shown(batches([None] * len(requests), lengths, self.batch_size)):
            records = [self._continued(number, requests[number].args) for number in batch]
            if without := [record.id for record in records if not self._takes(record)]:
                raise ValueError(f"{without[0]}: a log-likelihood is of an answer about one image")
            said = [record.conversations[1].text for record in records]
            most = max(len(ids) for ids in self._answering.tokenizer(said)["input_ids"])
            self._answering.set(max_new_tokens=most + 1, likelihoods=True)
            replies = self._answer(records)
            for number, text, answer, likely in zip(
                batch, said, replies.texts, replies.log_likelihoods, strict=True
            ):
                found[number] = (math.inf if math.isnan(likely) else -likely, text == answer)
        return [GenerationResult(pair) for pair in found]

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Dialogues of several turns are not asked.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "The model 'diysink' answers single questions: tasks of output_type generate_until, "
            "and with --force_simple multiple_choice and loglikelihood."
        )

    def _settings(self, given: Sequence[Any]) -> Any:
        """The generation arguments of a request."""
        return given[1]

    def _record(self, number: int, given: Sequence[Any]) -> Record:
        """A request as a record."""
        text, _, visuals, row, task, split = given
        parts = visual_parts(visuals(self.task_dict[task][split][row]), text)
        return record_of(f"{task}/{split}/{row}#{number}", parts)

    def _continued(self, number: int, given: Sequence[Any]) -> Record:
        """A request for the likelihood of a continuation."""
        text, answer, visuals, row, task, split = given
        document = self.task_dict[task][split][row]
        said = answer if isinstance(answer, str) else str(answer(document))
        parts = visual_parts(visuals(document), text)
        return record_of(f"{task}/{split}/{row}#{number}", parts, said.strip())

    def _takes(self, record: Record) -> bool:
        """Whether the model can be asked: about an image, or several if it takes several."""
        count = len(record.images)
        if count == 1 or (count and self._answering.model.several_images):
            return True
        logger.warning(
            "%s is about %d images, which this model is not asked: its answer is empty",
            record.id,
            count,
        )
        return False

    def _answer(self, records: Sequence[Record]) -> Replies:
        replies = self._answering.model.answer(records) if records else Replies([])
        if cut := [r.id for r, was in zip(records, replies.cut, strict=False) if was]:
            logger.warning("longer than the model reads, so cut: %s", ", ".join(cut))
        return replies

    def _shown(self, batches: Sequence[list[int]]) -> Any:
        return track(batches, "diysink", disable=self.rank != 0)


class DIYSinkChat(DIYSink):
    """The same for tasks that say where images stand in a question."""

    is_simple = False

    def _settings(self, given: Sequence[Any]) -> Any:
        return given[2]

    def _record(self, number: int, given: Sequence[Any]) -> Record:
        _, messages, _, row, task, split = given
        parts = parts_of(messages(self.task_dict[task][split][row]))
        return record_of(f"{task}/{split}/{row}#{number}", parts)
