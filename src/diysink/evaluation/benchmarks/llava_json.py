"""Any questions in LLaVA's format: its JSON list of dialogues, or its question files of JSON Lines.

For a benchmark of one's own: a row of `BENCHMARKS` with ``load=llava_json``. Beside LLaVA's keys an
entry may have ``answers`` (all references), ``options``, ``unit``, ``details``, ``group`` and
``subtask``.
"""

from collections.abc import Mapping
from pathlib import Path

from diysink.evaluation.benchmarks.published import (
    MissingFilesError,
    PublishedItems,
    Row,
    ask,
    optional,
    placed,
    text,
    texts,
)
from diysink.evaluation.benchmarks.readers import Images, Storage, embedded, open_rows
from diysink.evaluation.item import Item
from diysink.records import GROUPS, BadItemError, ImageFile, Reason, check_item
from diysink.records.rejection import excerpt

FILES = (
    "<split>.json: a list of {id, image, conversations}",
    "<split>.jsonl: {question_id, image, text, answer} in each line",
)


def llava_json(folder: Path, split: str) -> PublishedItems:
    """The questions of ``<split>.json`` or ``<split>.jsonl``; images are in ``images/`` or here."""
    storage = Storage(folder)
    files = storage.find(f"{split}.json", f"{split}.jsonl")
    if not files:
        raise MissingFilesError(folder)
    images = Images(storage, "images", ".")
    rows = open_rows(files[:1])

    def make(row: Row, number: int) -> Item:
        return _dialogue(row, images) if "conversations" in row else _question(row, images)

    return PublishedItems(rows, make, ("image",))


def _dialogue(row: Row, images: Images) -> Item:
    draft = check_item(row)
    turns = draft.conversations
    if len(turns) != 2 or not draft.images:
        raise BadItemError(
            Reason.TURN_ORDER,
            f"{len(turns)} turns and {len(draft.images)} images; expected one question about an "
            "image, and its answer",
        )
    pictures = [
        images.read(each) if isinstance(each, str) else embedded(each) for each in draft.images
    ]
    return placed(draft.id, turns[0].text, pictures, turns[1].text, **_more(row))


def _question(row: Row, images: Images) -> Item:
    answers = texts(row, "answers")
    answer = optional(row, "answer") or optional(row, "label") or next(iter(answers), None)
    picture: ImageFile = images.read(text(row, "image"))
    return ask(text(row, "question_id"), text(row, "text"), [picture], answer, **_more(row))


def _more(row: Row) -> dict[str, object]:
    group, details = optional(row, "group"), row.get("details") or {}
    if group is not None and group not in GROUPS:
        raise BadItemError(
            Reason.UNKNOWN_GROUP, f"group {excerpt(group)}; one of {', '.join(GROUPS)}, or absent"
        )
    if not isinstance(details, Mapping):
        raise BadItemError(Reason.WRONG_TYPE, f"details is {excerpt(details)}, not an object")
    return {
        "group": group,
        "subtask": optional(row, "subtask"),
        "answers": texts(row, "answers"),
        "options": texts(row, "options"),
        "unit": optional(row, "unit"),
        "details": details,
    }
