"""A benchmark's parquet files in the local cache of the hub; downloads happen only when asked for.

The files are those that the datasets library caches, too. They are read by our own readers, so
that no loading script runs and memory does not grow. Nothing goes over the network unless
``download`` is true.
"""

from collections.abc import Sequence
from pathlib import Path


def hub_folder(
    repository: str, files: Sequence[str] = (), *, download: bool = False
) -> Path | None:
    """The folder with a data set's files as the hub has them; None: they are not in the cache.

    Args:
        repository: the data set's id; ``id@revision`` for another than its main branch.
        files: patterns of those that a download brings; (): all.
        download: whether files that are not in the cache are downloaded.

    Raises:
        OSError: the download failed.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name, _, revision = repository.partition("@")
    try:
        folder = snapshot_download(
            name,
            repo_type="dataset",
            revision=revision or None,
            local_files_only=not download,
            allow_patterns=list(files) or None,
        )
    except LocalEntryNotFoundError:
        return None
    except HfHubHTTPError as error:
        raise OSError(f"{repository} could not be downloaded: {error}") from error
    return Path(folder)
