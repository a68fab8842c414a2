"""One call around anybody's code: what is done to visual tokens while a block runs.

Two methods of the inner model are patched, on the instance and nowhere else. All state is tied to
a call: to the features of its images, and to its cache.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from diysink.architectures import UnsupportedInterventionError
from diysink.architectures.hooks import is_patched, patch_method
from diysink.interventions.changes import Intervention
from diysink.interventions.interception import Interception
from diysink.interventions.reading import inner_model, sink_threshold
from diysink.interventions.spliced import SpliceInterception
from diysink.interventions.var import VAR, attached
from diysink.sinks import SinkProfile


@contextmanager
def intervene(
    model: Any,
    interventions: Intervention | VAR | Sequence[Intervention | VAR],
    *,
    profile: SinkProfile | None = None,
    tau: float | None = None,
) -> Iterator[None]:
    """Change what the language model sees of images, in everything that runs in the block.

    ``model.generate(...)``, a pipeline or a plain call go on unchanged: batches, several images,
    cached decoding, beams. Leaving the block restores the model, also after an error. Threads may
    share one block. The language model does not read dropped tokens; the caller's columns stay
    (`diysink.interventions.pruning`). Inside the block, calls raise ValueError for videos and for
    images that were encoded outside it, and UnsupportedInterventionError for what the model cannot
    do: dropping under an expanded attention mask, carried positions under flash attention.

    Args:
        model: any model of `diysink.architectures.LVLMS`, bare or under PEFT.
        interventions: one, or several to be carried out in this order; at most one VAR.
        profile: what a sink is for this model's vision encoder.
        tau: in place of a profile, the L2 norm from which a token is a sink. A DIYSink model knows
            its sinks and is given neither.

    Raises:
        ValueError: not exactly one of profile and tau; a block inside a block.
        UnsupportedModelError: an unsupported or compiled model.
        UnsupportedInterventionError: VAR on an attention implementation that it cannot work with.
        ProfileMismatchError: the profile is of another vision encoder or layer.
    """
    inner = inner_model(model)
    every = tuple(interventions) if isinstance(interventions, Sequence) else (interventions,)
    changes = [one for one in every if not isinstance(one, VAR)]
    variants = [one for one in every if isinstance(one, VAR)]
    if len(variants) > 1:
        raise ValueError(f"{len(variants)} VAR in one block: give at most one.")
    if is_patched(inner):
        raise ValueError(
            "There is an intervention around this model already. Give intervene all interventions "
            "as one list, in the order in which they shall be carried out."
        )
    interception: Interception | SpliceInterception
    if inner.config.model_type == "diysink":
        _refuse_for_our_own(profile, tau, variants)
        interception = SpliceInterception(inner, changes)
    else:
        var = variants[0] if variants else None
        interception = Interception(inner, changes, var, sink_threshold(model, profile, tau))
    with ExitStack() as stack:
        for one in variants:
            stack.enter_context(attached(one, inner))
        for name in interception.patches:
            stack.enter_context(patch_method(inner, name, getattr(interception, name)))
        yield


def _refuse_for_our_own(
    profile: SinkProfile | None,
    tau: float | None,
    variants: Sequence[VAR],
) -> None:
    """What a DIYSink model cannot be given.

    Raises:
        ValueError: a threshold.
        UnsupportedInterventionError: VAR.
    """
    if profile is not None or tau is not None:
        raise ValueError(
            "A DIYSink model knows its sinks (config.tau): give neither profile nor tau."
        )
    if variants:
        raise UnsupportedInterventionError(
            "VAR does not work on a DIYSink model; use the LLaVA that it was made from."
        )
