"""HRBench (arXiv 2408.15556): images of 4K and 8K, each question in four orders of its options.

The prompt's last line is the benchmark's own. The score is the mean over the orders ("cycles").
"""

from pathlib import Path

from diysink.artifact import digest_json
from diysink.evaluation.benchmarks.published import (
    MissingFilesError,
    PublishedItems,
    Row,
    ask,
    letter_of,
    lettered,
    listed,
    text,
)
from diysink.evaluation.benchmarks.readers import Storage, embedded, open_rows
from diysink.evaluation.item import Item

FILES = ("hr_bench_4k.tsv or .parquet", "hrbench_4k-*.parquet")
FILES_8K = tuple(name.replace("4k", "8k") for name in FILES)


def hrbench(folder: Path, split: str) -> PublishedItems:
    """All questions at a size, ``4k`` or ``8k``."""
    names = (f"hr_bench_{split}.tsv", f"hr_bench_{split}.parquet", f"hrbench_{split}-*.parquet")
    files = Storage(folder).find(*names)
    if not files:
        raise MissingFilesError(folder)
    needs = ("index", "question", "answer", "A", "B", "category", "cycle_category", "image")
    return PublishedItems(open_rows(files), _item, needs)


def _item(row: Row, number: int) -> Item:
    question, options = text(row, "question").strip(), lettered(row)
    image = embedded(row["image"])
    return ask(
        text(row, "index"),
        f"{question}\n{listed(options)}",
        [image],
        letter_of(text(row, "answer"), options),
        options=options,
        # The orders of a question: nothing in the file says which belong together.
        unit=digest_json([question, sorted(options), image.sha256])[:16],
        subtask=text(row, "category"),
        details={"cycle": text(row, "cycle_category")},
    )
