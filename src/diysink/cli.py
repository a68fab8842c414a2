"""``diysink inspect`` and ``diysink compare``: the sink census for people without Kedro."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what a user can mend is said in one line.

    Returns:
        The exit status: 0, or 2 where something is wrong with what was given.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.command is None:
        parser.print_help()
        return 2
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        given.command(given)
    except BrokenPipeError:  # whoever read has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        print(f"diysink: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("diysink: stopped. The same command goes on where it was.", file=sys.stderr)
        return 130
    return 0


def _inspect(given: argparse.Namespace) -> None:
    from diysink.engine import LocalEngine
    from diysink.inspection import inspect

    out = given.out or Path("census") / Path(given.model).resolve().name
    card = inspect(
        given.model,
        given.images,
        out=out,
        revision=given.revision,
        layers=given.layers,
        limit=given.limit,
        sizes=given.sizes,
        device=given.device,
        dtype=given.dtype,
        batch_size=given.batch_size,
        engine=LocalEngine(given.workers),
        language=not given.encoder_only,
        question=given.question,
        answers=given.answers,
        tau=given.tau,
        causes=given.causes,
    )
    print("\n".join(card.lines))
    print(f"Card and page: {out}")


def _compare(given: argparse.Namespace) -> None:
    from diysink.census import Card, compare

    found = compare(Card.load(given.first), Card.load(given.second))
    for key, (one, other) in found.about.items():
        print(f"{key}: {one} | {other}")
    print("\n".join(found.lines))
    if given.out is not None:
        found.table.to_csv(given.out, index=False)
        print(f"All values: {given.out}")


def _layers(text: str) -> list[int]:
    return _numbers(text, "0,6,-2")


def _sizes(text: str) -> list[int]:
    return _numbers(text, "224,518")


def _numbers(text: str, example: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: numbers with commas, such as {example}"
        ) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("diysink", description="ViT sinks in vision-language models.")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands")

    look = commands.add_parser("inspect", help="the sink census of a model: card and page")
    look.set_defaults(command=_inspect)
    look.add_argument("model", help="folder of a checkpoint, or hub id")
    look.add_argument("images", help="folder of images, or parquet with a column image")
    look.add_argument("--revision", help="of a hub id")
    look.add_argument("--layers", type=_layers, help="0,6,-2: those alone (default: all)")
    look.add_argument("--limit", type=int, help="of images (default: all)")
    look.add_argument(
        "--sizes",
        type=_sizes,
        help="518: side of the images in pixels; 224,518: a sweep (default: the model's)",
    )
    look.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    look.add_argument("--dtype", default="float32", help="float32, bfloat16, float16")
    look.add_argument("--batch-size", type=int, default=16, help="images to a forward pass")
    look.add_argument("--workers", type=int, default=0, help="processes (default: this one alone)")
    look.add_argument(
        "--causes", action="store_true", help="intervene on the largest-norm patch of 64 images"
    )
    look.add_argument("--out", type=Path, help="folder (default: census/<model's name>)")
    whole = look.add_argument_group("of a vision-language model")
    whole.add_argument("--encoder-only", action="store_true", help="its vision encoder alone")
    whole.add_argument("--question", default="Describe the image.", help="about each image")
    whole.add_argument(
        "--answers", action="store_true", help="also generate answers without massive dimensions"
    )
    whole.add_argument(
        "--tau", type=float, help="norm from which a token is a V-sink (default: the encoder's)"
    )

    pair = commands.add_parser("compare", help="what differs between two cards, with intervals")
    pair.set_defaults(command=_compare)
    pair.add_argument("first", type=Path, help="folder or card.json")
    pair.add_argument("second", type=Path, help="folder or card.json")
    pair.add_argument("--out", type=Path, help="CSV file of all values")
    return parser


if __name__ == "__main__":
    sys.exit(main())
