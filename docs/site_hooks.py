"""What mkdocs makes by itself: a page of the API reference for each package of the library."""

import re
from pathlib import Path
from typing import Any

from griffe import Extension
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGE = Path(__file__).parents[1] / "src/diysink"
OVERVIEW = "# API reference\n\n`import diysink` offers these; its packages offer more.\n\n"


def packages() -> list[str]:
    """The packages of the library, in order of their names."""
    return sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the navigation's entry "API reference"."""
    pages: list[Any] = [{name: f"reference/{name}.md"} for name in packages()]
    [entry] = [entry for entry in config.nav or [] if "API reference" in entry]
    entry["API reference"] = [{"diysink": "reference/index.md"}, *pages]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the reference: what each package exports."""
    for name in packages():
        exported = "__all__" in (PACKAGE / name / "__init__.py").read_text()
        # A package that exports nothing shows its modules.
        options = "" if exported else "    options: {show_submodules: true}\n"
        text = f"# diysink.{name}\n\n::: diysink.{name}\n{options}"
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    files.append(File.generated(config, "reference/index.md", content=f"{OVERVIEW}::: diysink\n"))
    return files


class Doctests(Extension):
    """Shows the examples of a docstring as code (griffe's extension, named in mkdocs.yml)."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Fence each paragraph that begins with a prompt."""
        if obj.docstring:
            fenced = re.sub(r"(?m)^>>> .*(?:\n.+)*", r"```pycon\n\g<0>\n```", obj.docstring.value)
            obj.docstring.value = fenced
