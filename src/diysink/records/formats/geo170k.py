"""Geo170K: GeoQA+ and Geometry3K as dialogues (arXiv 2312.11370, Luckyjhg/Geo170K on the hub).

``qa_tuning.json``, ``alignment.json``, or the hub's parquet of the same: LLaVA's items without ids.
An item's id is its place in the file, counted from 0. GeoQA's and UniGeo's own files are pickles
and are not read: a pickle runs code.
"""

from collections.abc import Mapping
from typing import Any

from diysink.records.formats.reader import Item, Reader


def _to_llava(item: Mapping[str, Any], index: int) -> Item:
    return {
        "id": str(index),
        "image": item.get("image"),
        "conversations": item.get("conversations"),
    }


READER = Reader(
    columns=("image", "conversations"), required=("image", "conversations"), to_llava=_to_llava
)
