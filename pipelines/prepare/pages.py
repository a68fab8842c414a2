"""Makes Great Expectations' pages readable offline and reproducible, with a front page of our own.

As built, the pages fetch scripts, styles and a logo from seven hosts; without these they are
hard to read, and with them they tell strangers that somebody is looking. The scripts only fold
and filter, so they go, and with them every button and field that would call them; a small style
sheet comes in the styles' place.
"""

import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

_CONTROLS = frozenset(
    ("script", "button", "input", "select", "textarea", "form", "iframe", "object", "embed")
)
# Great Expectations draws buttons as links and labels; its "Actions" are a card with a margin, its
# footer asks for a subscription.
_CONTROL_CLASSES = frozenset(("btn", "btn-group", "modal"))
_VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta"))
_REMOTE = re.compile(r"(?:https?:)?//|javascript:|data:text", re.IGNORECASE)
_REMOTE_URL = re.compile(r"""url\(\s*["']?(?:https?:)?//[^)]*\)""", re.IGNORECASE)
# Times of the check (not 1970, which stands in the names of the pages) and ids drawn at random.
_VOLATILE = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]+Z|(?!1970)\d{8}T\d{6}\.\d+Z"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
STYLE = """<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem; }
table { border-collapse: collapse; margin: .5rem 0; }
td, th { border: 1px solid #bbb; padding: .3rem .6rem; text-align: left; vertical-align: top; }
nav ol, nav ul { list-style: none; padding: 0; }
[hidden] { display: none; }
.fa-times::before { content: "\\2717"; color: #b00020; }
.fa-check-circle::before { content: "\\2713"; color: #116611; }
.fa-exclamation-triangle::before { content: "!"; }
.failed { color: #b00020; font-weight: bold; }
</style>"""


def make_offline(folder: Path) -> None:
    """Take references to other hosts, controls, times and random ids out of the pages."""
    for path in folder.rglob("*.css"):
        path.write_text(_REMOTE_URL.sub("none", path.read_text()))
    for path in folder.rglob("*.html"):
        page = _REMOTE_URL.sub("none", without_controls(path.read_text()))
        page = _VOLATILE.sub("-", page).replace("</head>", STYLE + "</head>", 1)
        path.write_text(page)


def without_controls(page: str) -> str:
    """The page without scripts, what would call them, and what comes from another host."""
    reader = _Page()
    reader.feed(page)
    reader.close()
    return "".join(reader.kept)


class _Page(HTMLParser):
    """Copies a page as it is, without elements and attributes that do something."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)  # texts stay escaped as they are
        self.kept: list[str] = []
        self._left_out: str | None = None  # the element that is being left out
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._left_out:
            self._depth += tag == self._left_out
            return
        values = {name: value or "" for name, value in attrs}
        classes = set(values.get("class", "").split())
        actions = {"card", "mb-3"} <= classes
        source = values.get("href" if tag == "link" else "src", "")
        if (
            tag in (*_CONTROLS, "footer")
            or actions
            or classes & _CONTROL_CLASSES
            or _REMOTE.match(source)
        ):
            if tag not in _VOID:
                self._left_out, self._depth = tag, 1
            return
        harmless = {
            name: value
            for name, value in values.items()
            if not name.startswith(("on", "data-"))
            and not (name in ("href", "src", "action") and _REMOTE.match(value.strip()))
        }
        shown = "".join(f' {name}="{escape(value)}"' for name, value in harmless.items())
        self.kept.append(f"<{tag}{shown}>")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._left_out:
            self.kept.append(f"</{tag}>")
        elif tag == self._left_out:
            self._depth -= 1
            self._left_out = self._left_out if self._depth else None

    def handle_data(self, data: str) -> None:
        self._keep(data)

    def handle_entityref(self, name: str) -> None:
        self._keep(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self._keep(f"&#{name};")

    def handle_decl(self, decl: str) -> None:
        self._keep(f"<!{decl}>")

    def _keep(self, text: str) -> None:
        if not self._left_out:
            self.kept.append(text)


def write_index(folder: Path, summary: dict[str, Any]) -> None:
    """Replace the front page (a script builds the original) by a table of all rules."""
    links = {
        path.parents[2].name: quote(path.relative_to(folder).as_posix())
        for path in folder.glob("validations/*/*/*/*.html")
    }
    verdict = "All rules hold." if summary["passed"] else "Rules are broken: nothing was published."
    rows = "".join(_row(rule, links.get(rule["table"], "")) for rule in summary["rules"])
    splits = "".join(
        f"<tr><td>{escape(name)}</td><td>{counts['items']}</td><td>{counts['records']}</td>"
        f"<td>{counts['quarantined']}</td></tr>"
        for name, counts in summary["splits"].items()
    )
    warnings = "".join(f"<p>Warning: {escape(text)}</p>" for text in summary["warnings"])
    (folder / "index.html").write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Records: checks</title>'
        f"{STYLE}</head><body><h1>Records: checks</h1><p><strong>{verdict}</strong></p>{warnings}"
        "<table><tr><th>split</th><th>items</th><th>taken</th><th>quarantined</th></tr>"
        f"{splits}</table><table><tr><th></th><th>table</th><th>rule</th><th>checked</th>"
        f"<th>failed</th><th>examples</th></tr>{rows}</table></body></html>\n"
    )


def _row(rule: dict[str, Any], link: str) -> str:
    mark = "&#10003;" if rule["passed"] else '<span class="failed">&#10007;</span>'
    examples = "<br>".join(escape(example) for example in rule["examples"])
    return (
        f'<tr><td>{mark}</td><td><a href="{link}">{escape(rule["table"])}</a></td>'
        f"<td>{escape(rule['rule'])}</td><td>{rule['checked']}</td><td>{rule['failed']}</td>"
        f"<td>{examples}</td></tr>"
    )
