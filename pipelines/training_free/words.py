"""What was found, in words and as a table: for the terminal and for the results file."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from diysink.sinks import SinkProfile


def spread(profile: "SinkProfile") -> str:
    """How large the norms are: the median, what nineteen in twenty stay below, the largest."""
    running = np.cumsum(profile.histogram)
    middle, high, top = (
        profile.edges[int(np.searchsorted(running, share * running[-1])) + place]
        for share, place in ((0.5, 0), (0.95, 1), (1.0, 1))
    )
    return (
        f"The {running[-1]:,} visual tokens of {profile.images} pictures have norms of about "
        f"{middle:.3g} (median); 95 % are below {high:.3g}, all below {top:.3g}."
    )


def facts(profile: "SinkProfile") -> dict[str, Any]:
    """A profile for the results file."""
    return {
        "encoder": profile.encoder.to_dict(),
        "tau": profile.tau,
        "method": profile.method,
        "interval": profile.interval,
        "verdict": profile.verdict,
        "reasons": list(profile.reasons),
        "not_looked_at": list(profile.not_looked_at),
        "images": profile.images,
        "sinks_per_image": profile.mean_sinks,
        "share_without": profile.share_without,
    }


def show(profile: "SinkProfile") -> None:
    """Print tau and why to believe it, or not."""
    from rich.console import Console

    console = Console()
    console.print(spread(profile), highlight=False)
    how = "given" if profile.method == "fixed" else "from the gap"
    if profile.interval:
        how += f", {profile.interval[0]:.3g} to {profile.interval[1]:.3g}"
    console.print(
        f"Sinks: {profile.verdict}. tau {profile.tau:.3g} ({how}), {profile.mean_sinks:.2f} in a "
        f"picture, none in {profile.share_without:.0%} of them.",
        style="bold green" if profile.found else "bold yellow",
        highlight=False,
    )
    for reason in profile.reasons:
        console.print(f"  - {reason}", highlight=False, markup=False)


def show_results(results: Mapping[str, Any]) -> None:
    """Print the table, the verdict, and what tau it is about."""
    from rich.console import Console

    from pipelines.hooks.summary import accuracy_table

    console = Console()
    console.print(accuracy_table(results["accuracy"], digits=1 if console.width >= 100 else 0))
    for sentence in results["verdict"]:
        console.print(sentence, markup=False, highlight=False)
    sinks = results["sinks"]
    console.print(
        f"Sinks have norms of at least {sinks['tau']:.3g} ({sinks['verdict']}); "
        f"{sinks['share_without']:.0%} of the pictures have none, and there nothing changes.",
        markup=False,
        highlight=False,
    )
