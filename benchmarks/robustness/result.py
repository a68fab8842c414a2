"""How every campaign tells what it found."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def tell(result: dict[str, Any], problems: Sequence[str], out: Path | None) -> int:
    """Print the result, keep it in a JSON file if one is named; the exit status."""
    text = json.dumps(result, indent=2)
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")
    return 1 if problems else 0
