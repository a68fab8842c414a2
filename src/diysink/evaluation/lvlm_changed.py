"""A vision-language model that answers while its visual tokens are changed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from diysink.evaluation.lvlm import LVLM, Left
from diysink.evaluation.predict import AnsweringModel, Replies
from diysink.interventions import VAR, Intervention, intervene
from diysink.records import Record
from diysink.sinks import SinkProfile


@dataclass(frozen=True)
class _Changed:
    lvlm: LVLM
    left: Left

    @property
    def several_images(self) -> bool:
        return self.lvlm.several_images

    def answer(self, records: Sequence[Record], max_new_tokens: int | None = None) -> Replies:
        return self.lvlm.answer(records, max_new_tokens, self.left)


@contextmanager
def changed(
    lvlm: LVLM,
    change: Intervention | VAR | None,
    profile: SinkProfile | None,
    tau: float | None = None,
) -> Iterator[AnsweringModel]:
    """The model while a change is made to its visual tokens.

    Args:
        lvlm: the model.
        change: what is done; None leaves the model stock, with nothing around it.
        profile: what a sink is. A DIYSink model goes by its own tau.
        tau: in place of a profile, the L2 norm from which a token is a sink.

    Raises:
        ValueError: not exactly one of profile and tau.
        UnsupportedInterventionError: the change cannot be made to this model; also while it
            answers.
        ProfileMismatchError: the profile is of another vision encoder.
    """
    if change is None:
        yield lvlm
        return
    left = Left()
    known = None if lvlm.knows_its_sinks else profile
    with intervene(lvlm.model, [change, left], profile=known, tau=tau):
        yield _Changed(lvlm, left)
