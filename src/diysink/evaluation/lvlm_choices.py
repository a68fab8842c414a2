"""Multiple-choice questions put to any vision-language model: how likely each choice is to it.

Nothing is decoded: a reply is always one of the choices. It is what CoT routing and the taxonomy of
questions ask (`diysink.selection.cot`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from diysink.evaluation.lvlm import LVLM
from diysink.evaluation.lvlm_likelihood import answer_tokens, mean_log_likelihoods
from diysink.records import PLACEHOLDER, Record
from diysink.selection import QuestionBatch
from diysink.selection.cot import MultipleChoice, Scores


class LVLMScorer:
    """A `diysink.selection.cot.Scorer` of a vision-language model.

    Args:
        lvlm: the model.
        records: what the questions of the batch are about, in its order; of several images, the
            first is shown.
    """

    def __init__(self, lvlm: LVLM, records: Sequence[Record]) -> None:
        self.lvlm = lvlm
        self.images = [record.images[0] for record in records]

    def __call__(
        self, questions: QuestionBatch, multiple_choices: Sequence[MultipleChoice]
    ) -> Scores:
        """Log-likelihood of every choice, end of turn included.

        Raises:
            ValueError: a rule that compares with the choice's likelihood without an image.
        """
        return Scores(tuple(self._score(asked) for asked in multiple_choices))

    def _score(self, asked: MultipleChoice) -> Tensor:
        if asked.score == "prior-corrected":
            raise ValueError(
                "cot.score is prior-corrected, which a stock model is not asked for; give sum or "
                "mean"
            )
        prompts = [prompt.replace(PLACEHOLDER, "").strip() for prompt in asked.prompts]
        ids = [f"question {number}" for number in range(len(prompts))]
        texts = self.lvlm.fitting(self.images, prompts, ids, self.lvlm.generation.max_new_tokens)
        inputs = self.lvlm.inputs(self.images, texts)
        columns = []
        for choice in asked.choices:
            tokens = answer_tokens(
                self.lvlm.processor, texts, [choice] * len(texts), self.lvlm.generation
            )
            means = mean_log_likelihoods(
                self.lvlm.model, inputs, tokens, self.lvlm.generation, None
            )
            lengths = [len(one) if asked.score == "sum" else 1 for one in tokens]
            columns.append(torch.tensor(means) * torch.tensor(lengths))
        return torch.stack(columns, 1)
