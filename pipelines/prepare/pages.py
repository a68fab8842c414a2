"""Makes Great Expectations' pages readable offline and reproducible, with a front page of our own.

As built, the pages fetch scripts, styles and a logo from seven hosts; without these they are
hard to read, and with them they tell strangers that somebody is looking. The scripts only fold
and filter, so they go; a small style sheet comes in the styles' place.
"""

import re
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

_SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL | re.IGNORECASE)
_REMOTE = re.compile(
    r"""<(?:link|img|iframe)\b[^>]*\b(?:href|src)\s*=\s*["'](?:https?:)?//[^>]*>""", re.IGNORECASE
)
_REMOTE_URL = re.compile(r"""url\(\s*["']?(?:https?:)?//[^)]*\)""", re.IGNORECASE)
_ANCHOR = re.compile(r"""(<a\b[^>]*?)\bhref\s*=\s*(["'])(?:https?:)?//.*?\2""", re.IGNORECASE)
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
.modal, .card.mb-3, .btn, [hidden] { display: none; }
.fa-times::before { content: "\\2717"; color: #b00020; }
.fa-check-circle::before { content: "\\2713"; color: #116611; }
.fa-exclamation-triangle::before { content: "!"; }
.failed { color: #b00020; font-weight: bold; }
</style>"""


def make_offline(folder: Path) -> None:
    """Take every reference to another host, every time and random id out of the pages."""
    for path in folder.rglob("*.css"):
        path.write_text(_REMOTE_URL.sub("none", path.read_text()))
    for path in folder.rglob("*.html"):
        page = _SCRIPT.sub("", path.read_text())
        page = _REMOTE_URL.sub("none", _ANCHOR.sub(r"\1", _REMOTE.sub("", page)))
        page = _VOLATILE.sub("-", page).replace("</head>", STYLE + "</head>", 1)
        path.write_text(page)


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
    (folder / "index.html").write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Records: checks</title>'
        f"{STYLE}</head><body><h1>Records: checks</h1><p><strong>{verdict}</strong></p>"
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
