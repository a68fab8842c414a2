"""Pages that mkdocs makes by itself: the API reference, one page a package, and the notebooks."""

import json
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
    """Add a page for each package, with what it exports, and one for each notebook."""
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        text = page_of(json.loads(file.content_string))
        files.append(File.generated(config, file.src_uri.replace(".ipynb", ".md"), content=text))
    for name in packages():
        exported = "__all__" in (PACKAGE / name / "__init__.py").read_text()
        # A package that exports nothing shows its modules.
        options = "" if exported else "    options: {show_submodules: true}\n"
        text = f"# diysink.{name}\n\n::: diysink.{name}\n{options}"
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    files.append(File.generated(config, "reference/index.md", content=f"{OVERVIEW}::: diysink\n"))
    return files


def page_of(notebook: dict[str, Any]) -> str:
    """A notebook as Markdown: text, code, and the outputs that are stored in it."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(f"```python\n{source}\n```" if cell["cell_type"] == "code" else source)
        for output in cell.get("outputs", []):
            if "text" in output:
                parts.append(f"```text\n{''.join(output['text'])}```")
            else:
                parts.append(f"![](data:image/png;base64,{output['data']['image/png']})")
    return "\n\n".join(parts)


class Doctests(Extension):
    """Shows the examples of a docstring as code (griffe's extension, named in mkdocs.yml)."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Fence each paragraph that begins with a prompt."""
        if obj.docstring:
            fenced = re.sub(r"(?m)^>>> .*(?:\n.+)*", r"```pycon\n\g<0>\n```", obj.docstring.value)
            obj.docstring.value = fenced
