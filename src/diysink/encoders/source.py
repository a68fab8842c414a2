"""Where a checkpoint comes from: a folder that is there, or the id of a model on a hub."""

from pathlib import Path


def source_of(path_or_id: str | Path) -> str:
    """A folder or hub id as the loaders of transformers take it.

    Raises:
        FileNotFoundError: it can only be a folder, and there is none.
    """
    source = str(path_or_id)
    if Path(source).is_dir():
        return source
    if Path(source).is_absolute() or source.startswith((".", "~")) or source.count("/") > 1:
        raise FileNotFoundError(
            f"There is no folder {source}. Give the folder of a checkpoint (config.json and "
            "model.safetensors), or a hub id such as openai/clip-vit-large-patch14-336."
        )
    return source
