"""Runs the tutorial's cells in this process, and records what they print and draw.

python -m tests.docs.tutorial       # writes the outputs into the notebook
"""

import ast
import base64
import io
import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parents[2] / "docs/tutorial/miniature.ipynb"


def run(notebook: dict[str, Any], names: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list]]:
    """Each cell of code with its outputs: what it prints, and its last expression if a figure."""
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = ast.unparse(tree.body.pop()) if isinstance(tree.body[-1], ast.Expr) else "None"
        with redirect_stdout(io.StringIO()) as printed:
            exec(compile(tree, cell["id"], "exec"), names)
            shown = eval(last, names)
        yield cell, [*stream(printed.getvalue()), *drawn(shown)]


def stream(text: str) -> list[dict[str, Any]]:
    if not text:
        return []
    return [{"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}]


def drawn(shown: Any) -> list[dict[str, Any]]:
    if not hasattr(shown, "savefig"):
        return []
    shown.savefig(file := io.BytesIO(), format="png", dpi=80)
    png = base64.b64encode(file.getvalue()).decode()
    return [{"data": {"image/png": png}, "metadata": {}, "output_type": "display_data"}]


if __name__ == "__main__":
    notebook = json.loads(NOTEBOOK.read_text())
    for count, (cell, outputs) in enumerate(run(notebook, {}), 1):
        cell.update(execution_count=count, outputs=outputs)
    NOTEBOOK.write_text(json.dumps(notebook, indent=1) + "\n")
