"""The schemas in which data sets are published, each turned into LLaVA's.

One file for each data set; `READERS` is the only list. A reader gives an item of LLaVA's format,
whose texts and images are then checked like any other: see `diysink.records.check`.
"""

from diysink.records.formats import geo170k, pixmo
from diysink.records.formats.reader import LLAVA, Item, Reader

READERS: dict[str, Reader] = {
    "llava": LLAVA,
    "geo170k": geo170k.READER,
    "pixmo-cap": pixmo.CAP,
    "pixmo-ask-model-anything": pixmo.ASK_MODEL_ANYTHING,
    "pixmo-cap-qa": pixmo.CAP_QA,
    "pixmo-count": pixmo.COUNT,
}

__all__ = ["LLAVA", "READERS", "Item", "Reader"]
