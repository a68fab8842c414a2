"""What one request of lmms-eval asks: a question about images, and how it is to be answered."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from diysink.artifact import digest_bytes
from diysink.records import PLACEHOLDER, ImageFile, Record, Turn

# Of greedy decoding these change nothing; how a picture is cut is the processor's business.
_WITHOUT_EFFECT = ("top_p", "top_k", "seed", "image_aspect_ratio")
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


@dataclass(frozen=True)
class Decoding:
    """How long an answer may be, and where it ends.

    Attributes:
        max_new_tokens: length limit.
        until: texts, the first of which ends the answer and is no part of it.
    """

    max_new_tokens: int
    until: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Mapping[str, Any], max_new_tokens: int) -> "Decoding":
        """From the ``generation_kwargs`` of a task.

        Args:
            settings: as the task gives them.
            max_new_tokens: where the task gives none.

        Raises:
            ValueError: something else than greedy decoding, or a setting that is not known.
        """
        given = {name: value for name, value in settings.items() if value is not None}
        until = given.pop("until", ())
        until = (until,) if isinstance(until, str) else tuple(until)
        temperature = float(given.pop("temperature", 0 if not given.get("do_sample") else 1))
        given.pop("do_sample", None)
        beams = int(given.pop("num_beams", 1))
        if temperature > 0 or beams > 1 or float(given.pop("repetition_penalty", 1)) != 1:
            raise ValueError(
                f"the task asks for generation_kwargs {dict(settings)}, and answers are greedy "
                "here: one beam, no sampling, no penalty. To run it greedily all the same: "
                "--gen_kwargs temperature=0,num_beams=1,repetition_penalty=1"
            )
        limit = int(given.pop("max_new_tokens", max_new_tokens))
        if unknown := sorted(given.keys() - set(_WITHOUT_EFFECT)):
            raise ValueError(
                f"the task's generation_kwargs have {', '.join(unknown)}, of which nothing is "
                "known here; expected max_new_tokens, until, and settings of greedy decoding"
            )
        return cls(limit, tuple(end for end in until if end))

    def ended(self, answer: str) -> str:
        """An answer up to the first of the texts that end it."""
        for end in self.until:
            answer = answer.split(end, 1)[0]
        return answer.strip()


def batches(keys: Sequence[Hashable], lengths: Sequence[int], size: int) -> list[list[int]]:
    """Indices of requests that are answered together: of one key, the longest first.

    Args:
        keys: of each request; those of different keys are never in one batch.
        lengths: of each request.
        size: of a batch.
    """
    groups: dict[Hashable, list[int]] = {}
    for index in sorted(range(len(keys)), key=lambda index: -lengths[index]):
        groups.setdefault(keys[index], []).append(index)
    return [
        group[start : start + size]
        for group in groups.values()
        for start in range(0, len(group), size)
    ]


def parts_of(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The parts of what the user says.

    Args:
        messages: of a chat task, as its ``doc_to_messages`` gives them.

    Raises:
        ValueError: other turns than the user's one.
    """
    roles = [message["role"] for message in messages]
    if roles != ["user"]:
        raise ValueError(
            f"the task's messages are of {roles}; expected one of the user. System prompts and "
            "dialogues of several turns are not asked here."
        )
    content = messages[0]["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def visual_parts(visuals: Iterable[Any] | None, text: str) -> list[Mapping[str, Any]]:
    """The parts of a simple request: its images, then its text."""
    shown = [{"type": "image", "url": visual} for visual in visuals or ()]
    return [*shown, {"type": "text", "text": text}]


def record_of(identity: str, parts: Sequence[Mapping[str, Any]], answer: str = "") -> Record:
    """A request as a record; it may have no image.

    Images stand where the parts have them, or at the placeholders of the text if it has one for
    each image. Other placeholders are taken out.

    Args:
        identity: unique among the requests.
        parts: texts and images in their order.
        answer: whose likelihood is asked for.

    Raises:
        ValueError: a video, a sound, or anything else that is not text or an image.
    """
    images, placed, said = [], "", ""
    for part in parts:
        match part["type"]:
            case "text":
                said += part["text"]
                placed += part["text"].replace(PLACEHOLDER, "")
            case "image":
                images.append(image_of(part["url"], identity))
                placed += PLACEHOLDER
            case other:
                raise ValueError(f"{identity} asks about {other}; {_EXPECTED}")
    question = said if images and said.count(PLACEHOLDER) == len(images) else placed
    return Record(identity, tuple(images), (Turn("human", question), Turn("gpt", answer)))


def image_of(shown: Any, identity: str) -> ImageFile:
    """An image as a file: a picture's pixels without loss, or the file of this path.

    Raises:
        ValueError: anything else.
    """
    if (
        isinstance(shown, str | Path)
        and Path(shown).suffix.lower() in Image.registered_extensions()
    ):
        return ImageFile.of(Path(shown).read_bytes())
    if not isinstance(shown, Image.Image):
        kind = f"a file {shown!r}" if isinstance(shown, str) else f"a {type(shown).__name__}"
        raise ValueError(f"{identity} asks about {kind}; {_EXPECTED}")
    picture = shown if shown.mode in _PNG_MODES else shown.convert("RGB")
    file = BytesIO()
    picture.save(file, "PNG", compress_level=1)
    data = file.getvalue()
    return ImageFile(data, digest_bytes(data), "PNG", *picture.size)


_EXPECTED = "expected text and images: tasks with videos or sound are not supported"
