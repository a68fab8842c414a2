"""A benchmark's parquet files in the local cache of the hub; downloads happen only when asked for.

The files are those that the datasets library caches, too. They are read by our own readers, so
that no loading script runs and memory does not grow. Nothing goes over the network unless
``download`` is true.
"""

from pathlib import Path

PATTERNS = ["*.parquet", "*.tsv", "*.json", "*.jsonl", "*.zip", "*.jpg", "*.png"]


def hub_folder(
    repository: str, *, download: bool = False, revision: str | None = None
) -> Path | None:
    """The folder with a data set's files as the hub has them; None: they are not in the cache.

    Args:
        repository: the data set's id.
        download: whether files that are not in the cache are downloaded.
        revision: a commit or branch; None: the main branch, or what is in the cache of it.

    Raises:
        OSError: the download failed.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            repository,
            repo_type="dataset",
            revision=revision,
            local_files_only=not download,
            allow_patterns=PATTERNS,
        )
    except LocalEntryNotFoundError:
        return None
    except HfHubHTTPError as error:
        raise OSError(f"{repository} could not be downloaded: {error}") from error
    return Path(folder)
