"""Measures public encoders, one after the other, and writes the table of docs/census/README.md.

`python benchmarks/census_table.py IMAGES [--only NAME ...] [--limit 500] [--device cuda]` downloads
what is not there yet. Each card stays in `docs/census/cards/`; without IMAGES the table is written
from the cards alone. A model that cannot be measured gets its error in the table.
"""

import argparse
import json
from pathlib import Path

from diysink.artifact import write_json
from diysink.census import Card
from diysink.inspection import inspect

ENCODERS = [
    "openai/clip-vit-base-patch32",
    "openai/clip-vit-base-patch16",
    "openai/clip-vit-large-patch14",
    "openai/clip-vit-large-patch14-336",
    "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
    "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    "google/siglip-base-patch16-224",
    "google/siglip-base-patch16-384",
    "google/siglip-large-patch16-256",
    "google/siglip-large-patch16-384",
    "google/siglip-so400m-patch14-224",
    "google/siglip-so400m-patch14-384",
    "google/siglip2-base-patch16-224",
    "google/siglip2-large-patch16-256",
    "google/siglip2-so400m-patch14-384",
    "google/siglip2-base-patch16-naflex",
    "facebook/dinov2-small",
    "facebook/dinov2-base",
    "facebook/dinov2-large",
    "facebook/dinov2-giant",
    "facebook/dinov2-with-registers-small",
    "facebook/dinov2-with-registers-base",
    "facebook/dinov2-with-registers-large",
    "facebook/dinov2-with-registers-giant",
    "facebook/dinov3-vits16-pretrain-lvd1689m",
    "facebook/dinov3-vitb16-pretrain-lvd1689m",
    "facebook/dinov3-vitl16-pretrain-lvd1689m",
    "google/vit-base-patch16-224",
    "google/vit-large-patch16-224",
    "google/vit-base-patch16-224-in21k",
    "google/vit-huge-patch14-224-in21k",
    "facebook/dino-vits16",
    "facebook/dino-vitb16",
    "facebook/dino-vits8",
    "facebook/deit-small-patch16-224",
    "facebook/deit-base-distilled-patch16-224",
    "facebook/vit-mae-base",
    "facebook/vit-mae-large",
    "facebook/vit-mae-huge",
    "facebook/ijepa_vith14_1k",
    "apple/aimv2-large-patch14-224",
]
PAGE = Path("docs/census/README.md")
CARDS = Path("docs/census/cards")
BEGIN, END = "<!-- table -->\n", "<!-- end -->\n"


def file_of(name: str) -> Path:
    return CARDS / f"{name.replace('/', '--')}.json"


def row_of(name: str) -> str:
    file = file_of(name)
    if not file.exists():
        return f"| {name} | not run | | | |"
    plain = json.loads(file.read_text())
    if "error" in plain:
        return f"| {name} | {plain['error']} | | | |"
    verdict, model = plain["verdict"], plain["model"]
    types = "; ".join(
        f"{one['type']} ({min(one['layers'])} to {max(one['layers'])})" for one in verdict["types"]
    )
    images = f"{plain['images']['count']} at {model['pixels'][0]} pixels"
    return f"| {name} | {types} | {' '.join(verdict['lines'])} | {model['layers']} | {images} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("images", nargs="?", help="folder; none: write the table alone")
    parser.add_argument("--only", nargs="*", default=ENCODERS)
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    for name in args.only if args.images else ():
        if file_of(name).exists():
            continue
        try:
            out = Path("census") / name
            inspect(name, args.images, out=out, limit=args.limit, device=args.device)
            write_json(file_of(name), Card.load(out).plain)
        except (ValueError, OSError, RuntimeError) as error:
            write_json(file_of(name), {"error": str(error).split("\n")[0][:200]})
    local = sorted(path.stem for path in CARDS.glob("*.json") if "--" not in path.stem)
    head = "| encoder | types (layers) | verdict | blocks | images |\n|---|---|---|---|---|\n"
    table = head + "\n".join(row_of(name) for name in [*local, *ENCODERS]) + "\n"
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
