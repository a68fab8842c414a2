"""Chat templates that take messages of either form: plain text, or a list of parts.

Templates of language models know text alone (a list breaks them, or is printed as Python writes
it); LLaVA's know lists alone (of plain text they print nothing, silently). What a template takes
is found by trying it, and what it lacks is put before it, so that training, answering and
transformers' processors all write the same prompt.
"""

from typing import Any

import jinja2

IMAGE = "<image>"

# One part a line, as LLaVA writes them: "<image>\n" and the question.
_PARTS_TO_TEXT = (
    "{%- if message['content'] is sequence and message['content'] is not string -%}"
    "{%- set lines = namespace(parts=[]) -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}{%- set lines.parts = lines.parts + ['" + IMAGE + "'] -%}"
    "{%- elif part['type'] == 'text' -%}{%- set lines.parts = lines.parts + [part['text']] -%}"
    "{%- else -%}{{- raise_exception('a part is an image or a text, not ' ~ part['type']) -}}"
    "{%- endif -%}{%- endfor -%}"
    "{%- set message = dict(message, content=lines.parts | join('\n')) -%}"
    "{%- set given.messages = given.messages + [message] -%}"
)
_TEXT_TO_PARTS = (
    "{%- if message['content'] is string -%}"
    "{%- set part = {'type': 'text', 'text': message['content']} -%}"
    "{%- set given.messages = given.messages + [dict(message, content=[part])] -%}"
)


def either_form(tokenizer: Any) -> str:
    """The tokenizer's chat template, made to take what it does not.

    Raises:
        ValueError: the tokenizer has no template, or it takes neither form.
    """
    if not tokenizer.chat_template:
        raise ValueError("the tokenizer has no chat template: set tokenizer.chat_template")
    template: str = tokenizer.get_chat_template()
    parts = [{"type": "image"}, {"type": "text", "text": "probe"}]
    match _writes(tokenizer, "probe", ["probe"]), _writes(tokenizer, parts, [IMAGE, "probe"]):
        case True, True:
            return template
        case True, False:
            return _before(_PARTS_TO_TEXT, template)
        case False, True:
            return _before(_TEXT_TO_PARTS, template)
        case _:
            raise ValueError(
                "the tokenizer's chat template writes neither a user's plain text nor a list of "
                f"parts with {IMAGE} for an image: set tokenizer.chat_template to one that does"
            )


def _writes(tokenizer: Any, content: Any, expected: list[str]) -> bool:
    try:
        text = tokenizer.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
    except (TypeError, jinja2.TemplateError):
        return False
    return all(word in text for word in expected)


def _before(change: str, template: str) -> str:
    # What it ends in is no block: a newline after a block would be eaten from the template.
    return (
        "{%- set given = namespace(messages=[]) -%}{%- for message in messages -%}"
        + change
        + "{%- else -%}{%- set given.messages = given.messages + [message] -%}{%- endif -%}"
        "{%- endfor -%}{%- set messages = given.messages -%}{{- '' }}" + template
    )
