"""Decisions about a registered model: written down first, then carried out."""

import json
import secrets
from contextlib import suppress
from datetime import UTC, datetime

from mlflow.exceptions import MlflowException

from diysink.registry.client import request
from diysink.registry.state import (
    CARRIED_OUT,
    CHAMPION,
    MOVES,
    TAG,
    Action,
    Decision,
    State,
    named_by,
    state,
)


def record(
    name: str,
    action: Action,
    *,
    champion: int | None,
    before: int | None,
    challenger: int | None,
    reason: str,
    figures: dict[str, float] | None = None,
    run_id: str | None = None,
) -> Decision:
    """Write a decision down, then carry it out: the champion's alias follows the record.

    In this order: a record without its move is carried out by the next `settle`, while a move
    without a record would be lost history.

    Raises:
        LookupError: the version was deleted meanwhile; nothing is on record.
    """
    time = datetime.now(UTC).isoformat(timespec="seconds")
    number = 1 + max((made.number for made in state(name).record.values()), default=0)
    made = Decision(number, action, champion, before, challenger, reason, figures, time, run_id)
    key = f"{number:06d}-{secrets.token_hex(4)}"
    text = json.dumps(made.to_json())
    concerned = champion if challenger is None else challenger
    _set_tag(name, TAG + key, text)
    try:
        request(
            lambda client: client.set_model_version_tag(
                name, str(concerned), "decision", f"{action}: {reason}"
            )
        )
        if action in MOVES:
            _carry_out(name, key, made)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        with suppress(MlflowException):  # the whole model may be gone
            request(lambda client: client.delete_registered_model_tag(name, TAG + key))
        raise LookupError(
            f"a version of the registered model {name!r} was deleted while it was decided about "
            f"({error.message}); nothing was decided. Run promote again."
        ) from error
    return made


def settle(name: str) -> State:
    """Bring record and alias together; what the registry holds then.

    A decision whose alias was not moved (killed in between) is carried out, if it is the last that
    moves anything; an alias that somebody else has moved is written down as such; a champion that
    somebody has deleted is none.
    """
    now = state(name)
    move = now.last_move()
    if move is None:
        return now
    key, made = move
    champion = now.version(CHAMPION)
    # Two machines decided at the same moment, and the alias follows the earlier of the two.
    overtaken = champion != made.champion and any(
        other.number == made.number and other.champion == champion and other.action in MOVES
        for other in now.record.values()
    )
    if made.champion in now.existing and (overtaken or not now.is_carried_out(key)):
        _carry_out(name, key, made)
        return state(name)
    if champion is None or champion == made.champion:
        return now
    reason = f"the alias was moved from version {made.champion} outside of promote and rollback"
    if made.champion not in now.existing:
        reason = f"version {made.champion} was deleted: the alias is on version {champion}"
    moved: Action = "moved by hand"
    record(name, moved, champion=champion, before=made.champion, challenger=None, reason=reason)
    return state(name)


def _carry_out(name: str, key: str, made: Decision) -> None:
    # Again as long as another machine has written a later decision meanwhile.
    for _ in range(5):
        if named_by(name, CHAMPION) != made.champion:
            set_alias(name, CHAMPION, made.champion)
        _set_tag(name, CARRIED_OUT, key)
        now = state(name)
        last = now.last_move()
        if last is None or last[0] == key or last[1].champion not in now.existing:
            return
        key, made = last


def set_alias(name: str, alias: str, version: int | None) -> None:
    """Let ``alias`` name this version."""
    request(lambda client: client.set_registered_model_alias(name, alias, str(version)))


def _set_tag(name: str, tag: str, value: str) -> None:
    request(lambda client: client.set_registered_model_tag(name, tag, value))
