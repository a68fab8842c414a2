"""From the log-likelihoods of choices to the scores by which they are compared.

A sum of log-probabilities favours short choices, and those that the model says anyhow, whatever is
asked. The mean per token takes the length away. The prior correction takes away what the model says
without image and question: the pointwise mutual information of choice and context given the domain
(PMI_DC; Holtzman et al. 2021, "Surface form competition: why the highest probability answer isn't
always right", EMNLP).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from diysink.model.chat import IGNORE, ChatEncoder
from diysink.model.modeling import DIYSinkForConditionalGeneration
from diysink.model.tree import log_probabilities
from diysink.records import Turn
from diysink.selection import MultipleChoice


def choice_scores(
    model: DIYSinkForConditionalGeneration,
    chat_encoder: ChatEncoder,
    multiple_choice: MultipleChoice,
    log_likelihoods: Float[Tensor, "batch choices"],
) -> Float[Tensor, "batch choices"]:
    """Scores of the choices as the question wants them compared.

    Args:
        model: the model that was asked.
        chat_encoder: prompts for its tokenizer.
        multiple_choice: what was asked.
        log_likelihoods: of each choice, summed over its tokens and the end of turn.
    """
    match multiple_choice.score:
        case "sum":
            return log_likelihoods
        case "mean":
            tokens = [
                int((chat_encoder.dialogue(_turns("", choice)).labels != IGNORE).sum())
                for choice in multiple_choice.choices
            ]
            return log_likelihoods / torch.tensor(tokens)
        case "prior-corrected":
            return log_likelihoods - prior(model, chat_encoder, multiple_choice)
        case other:
            raise ValueError(f"score is {other!r}; it must be sum, mean or prior-corrected")


@torch.no_grad()
def prior(
    model: DIYSinkForConditionalGeneration,
    chat_encoder: ChatEncoder,
    multiple_choice: MultipleChoice,
) -> Float[Tensor, "batch choices"]:
    """Log-likelihood of each choice where neither image nor question is there, only what is asked.

    The template is asked with an empty question; a prompt without a template, as it is.
    """
    blank = [template.replace("{question}", "") for template, _ in multiple_choice.parts()]
    if multiple_choice.template is None:
        blank = list(multiple_choice.prompts)
    asked = {prompt: index for index, prompt in enumerate(dict.fromkeys(blank))}
    encoded = [
        chat_encoder.dialogue(_turns(prompt, choice))
        for prompt in asked
        for choice in multiple_choice.choices
    ]
    ids, mask = chat_encoder.pad([one.input_ids for one in encoded], side="right")
    labels, _ = chat_encoder.pad([one.labels for one in encoded], side="right", value=IGNORE)
    states = model.model.language_model(
        input_ids=ids.to(model.device), attention_mask=mask.to(model.device)
    ).last_hidden_state[:, :-1]
    target = labels[:, 1:].to(model.device)
    row, column = (target != IGNORE).nonzero(as_tuple=True)
    said = log_probabilities(model, states[row, column], target[row, column])
    scores = torch.zeros(len(ids), device=said.device).index_add(0, row, said)
    by_prompt = scores.reshape(len(asked), len(multiple_choice.choices)).cpu()
    return by_prompt[[asked[prompt] for prompt in blank]]


def _turns(prompt: str, choice: str) -> list[Turn]:
    return [Turn("human", prompt), Turn("gpt", choice)]
