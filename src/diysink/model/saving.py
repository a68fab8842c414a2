"""What a saved model's files do not say: where its parts were found, or last used.

So the same model is the same files, whatever folder it was made in.
"""

import json
from pathlib import Path
from typing import Any

from diysink.artifact import load_json, write_json

_PLACES = {
    "_name_or_path",
    "name_or_path",
    "special_tokens_map_file",
    "tokenizer_file",
    "vocab_file",
    "merges_file",
    "is_local",
    "local_files_only",
}
# Their content is data: words of a vocabulary, names of weights.
_DATA = {"tokenizer.json", "vocab.json", "added_tokens.json", "model.safetensors.index.json"}


def without_places(value: Any) -> Any:
    """A JSON value without the settings that say where something was, at any depth.

    >>> without_places({"a": [{"_name_or_path": "/home/me/model", "b": 1}]})
    {'a': [{'b': 1}]}
    """
    if isinstance(value, dict):
        return {k: without_places(v) for k, v in value.items() if k not in _PLACES}
    if isinstance(value, list):
        return [without_places(one) for one in value]
    return value


def drop_places(folder: Path) -> None:
    """Take such settings out of a saved model's JSON files, also those of folders in it."""
    for path in sorted(folder.rglob("*.json")):
        if path.name in _DATA:
            continue
        value = load_json(path)
        if (kept := without_places(value)) != value:
            write_json(path, kept)


def portable(text: str) -> str:
    """The text of a configuration's JSON without such settings, otherwise as it is written."""
    return json.dumps(without_places(json.loads(text)), indent=2, sort_keys=True) + "\n"
