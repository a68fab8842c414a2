"""Puts what img2dataset has downloaded where `diysink.records.cache` looks for it.

``python -m diysink.records.fill_cache DOWNLOADS CACHE``. DOWNLOADS is img2dataset's output folder
(``--output_format files``): beside each image lies a JSON file with its URL. Nothing is fetched.
"""

import json
import shutil
import sys
from pathlib import Path

from diysink.artifact import atomic_path
from diysink.records.cache import url_name

_SUFFIXES = (".jpg", ".png", ".webp")  # as img2dataset names images


def fill_cache(downloads: Path, cache: Path) -> int:
    """Copy images into a cache; return how many.

    Args:
        downloads: with ``00000/000000000.jpg`` and ``00000/000000000.json``.
        cache: the folder to fill; it is made.
    """
    cache.mkdir(parents=True, exist_ok=True)
    count = 0
    for facts in sorted(downloads.rglob("*.json")):
        images = [path for s in _SUFFIXES if (path := facts.with_suffix(s)).is_file()]
        if images:
            [image] = images
            target = cache / (url_name(json.loads(facts.read_text())["url"]) + image.suffix)
            with atomic_path(target) as temporary:
                shutil.copyfile(image, temporary)
            count += 1
    return count


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m diysink.records.fill_cache DOWNLOADS CACHE")
    print(f"{fill_cache(Path(sys.argv[1]), Path(sys.argv[2]))} images")
