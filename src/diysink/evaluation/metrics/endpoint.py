"""Extraction of MathVista's answers by a language model behind an OpenAI-compatible endpoint.

Nothing here runs unless somebody makes an `Endpoint` and hands it to `MathVista`.
"""

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from diysink.artifact import BrokenFileError, digest_json, load_json, write_json
from diysink.evaluation.item import Item
from diysink.evaluation.metrics.mathvista import quick
from diysink.records import question_of

_LIMIT = 2**20  # bytes of a reply
_TOKENS = 256  # of a reply, as MathVista's own extraction has it
_FORMS = {
    "integer": "an integer such as 12",
    "float": "a decimal number such as 1.25",
    "list": "a Python list such as [1, 2]",
}
_INSTRUCTION = (
    "Below are a question about an image and a response to it. Write down the final answer that "
    "the response gives, and nothing else: no words around it, no unit, no explanation. Do not "
    "answer the question yourself. If the response gives no answer, write: none"
)


class EndpointError(RuntimeError):
    """The endpoint gave no answer that can be read; what it gave before is kept."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: it would take the key to another server."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True)
class Endpoint:
    """Asks a language model what an answer says, once for each answer.

    What needs no extraction (`quick`) is not asked. Every reply is a file of ``cache`` as soon as
    it is there: a rerun asks only what is missing. The files hold no key.

    Attributes:
        url: of the API, such as ``https://api.openai.com/v1``; ``/chat/completions`` is added.
        model: its name at the endpoint.
        cache: folder for the replies.
        key: sent as a bearer token; None: none is sent.
        timeout: seconds to wait for a reply.

    Raises:
        ValueError: the URL is not one of http or https, or has a user name in it.
    """

    url: str
    model: str
    cache: Path
    key: str | None = field(default=None, repr=False)
    timeout: float = 60.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError(
                "the URL of an endpoint is http:// or https:// and a server, such as "
                "https://api.openai.com/v1, without user name or password; give a key as `key`"
            )

    def __call__(self, prediction: str, item: Item) -> str | None:
        """What an answer says; None: nothing.

        Raises:
            EndpointError: the server cannot be reached, refuses, or replies in another form.
        """
        text = prediction.strip()
        if not text or (found := quick(text, item)) is not None:
            return found if text else None
        messages = [{"role": "user", "content": prompt(text, item)}]
        asked = {"model": self.model, "messages": messages}
        path = self.cache / f"{digest_json(asked)}.json"
        try:
            reply = load_json(path)["reply"]
        except BrokenFileError:  # it is not there, or damaged
            reply = self._ask(asked)
            self.cache.mkdir(parents=True, exist_ok=True)
            write_json(path, {**asked, "reply": reply})
        return None if reply.strip().lower().rstrip(".") in ("", "none") else reply.strip()

    def _ask(self, asked: dict[str, Any]) -> str:
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/chat/completions",
            json.dumps(asked | {"temperature": 0, "max_tokens": _TOKENS}).encode(),
            {"Content-Type": "application/json"}
            | ({"Authorization": f"Bearer {self.key}"} if self.key else {}),
        )
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            with opener.open(request, timeout=self.timeout) as response:
                reply = json.loads(response.read(_LIMIT))["choices"][0]["message"]["content"]
        except urllib.error.HTTPError as error:
            raise self._failed(f"it answered with status {error.code}") from error
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(str(error)) from error
        except (ValueError, LookupError, TypeError) as error:
            raise self._failed("its reply is not a chat completion in JSON") from error
        if not isinstance(reply, str):
            raise self._failed("its reply has no text")
        return reply

    def _failed(self, why: str) -> EndpointError:
        return EndpointError(
            f"{self.url} gave no extraction by {self.model}: {why}. Replies so far are kept in "
            f"{self.cache}; run it again and only the missing ones are asked"
        )


def prompt(prediction: str, item: Item) -> str:
    """What the language model is asked about one answer; our own words, not MathVista's prompt."""
    form = _FORMS.get(str(item.details.get("answer_type")), "the words of the answer")
    if item.details.get("question_type") == "multi_choice":
        form = "the letter of the option in parentheses, such as (B)"
    return (
        f"{_INSTRUCTION}.\nWrite it as {form}.\n\nQuestion: {question_of(item)}\n\n"
        f"Response: {prediction}\n\nFinal answer:"
    )
