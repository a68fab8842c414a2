"""The table that closes a run that made results: what came out, and where to look further."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline.node import Node
from rich.console import Console
from rich.table import Table

from pipelines.hooks.stages import stage_of

RESULTS_FILE = "data/08_reporting/results.json"
REPORT_FILE = "data/08_reporting/report.html"
CLAIMS_FILE = "data/08_reporting/claims/claim_verdicts.parquet"
_RESULT_STAGES = {"evaluate", "report"}
_CLAIM_STAGES = {"claims", "report"}


class Summary:
    """Prints accuracy by variant and group, the claims, the report's path and the MLflow run."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._run_id: str | None = None
        self._ran: set[str] = set()

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Remember the run: kedro-mlflow has closed it by the time the table is printed."""
        import mlflow

        active = mlflow.active_run()
        self._run_id = active.info.run_id if active else None
        self._ran = set()

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Remember which stages did something: nodes may be left out of a run."""
        if stage := stage_of(node):
            self._ran.add(stage)

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Print, if this run made results."""
        ran = self._ran
        project = Path(run_params["project_path"])
        answered = ran & _RESULT_STAGES and (project / RESULTS_FILE).is_file()
        claims = claims_line(project / CLAIMS_FILE) if ran & _CLAIM_STAGES else ""
        if not answered and not claims:
            return
        console = self._console or Console()
        if answered:
            results = json.loads((project / RESULTS_FILE).read_text())
            digits = 1 if console.width >= 100 else 0
            console.print(accuracy_table(results["accuracy"], digits=digits))
            for sentence in results.get("verdict", []):
                console.print(sentence, markup=False)
        if claims:
            console.print(f"Claims      {claims}", markup=False, soft_wrap=True)
        if "report" in ran:
            console.print(f"Report      {project / REPORT_FILE}", markup=False, soft_wrap=True)
        if self._run_id:
            console.print(f"MLflow run  {self._run_id}", markup=False, soft_wrap=True)
            console.print("            see it with: kedro mlflow ui", markup=False)


def claims_line(path: Path) -> str:
    """How many claims are shown, refuted and undecided, and which; nothing if none was judged."""
    import pandas as pd

    from diysink.claims import tally

    claims = pd.read_parquet(path) if path.is_file() else pd.DataFrame()
    return tally(claims) if len(claims) else ""


def accuracy_table(rows: Sequence[Mapping[str, Any]], *, digits: int = 1) -> Table:
    """Variants down, groups across; each cell an accuracy in percent with its interval.

    Intervals are over trainings and images where there were several trainings.

    Args:
        rows: mappings with ``variant``, ``group``, ``accuracy``, ``low``, ``high``,
            ``training_low``, ``training_high`` (shares of 1), ``n_items`` and ``n_seeds``.
        digits: decimals of the intervals' ends.
    """
    from diysink.evaluation.verdict import over

    groups = list(dict.fromkeys(row["group"] for row in rows))
    counts = {row["group"]: row["n_items"] for row in rows}
    cells = {(row["variant"], row["group"]): _cell(row, digits) for row in rows}
    title = f"Accuracy on the test items, % \\[interval over {over(rows)}]"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("variant", no_wrap=True)
    for group in groups:
        table.add_column(f"{group}\nn={counts[group]}", justify="right", no_wrap=True)
    for variant in dict.fromkeys(row["variant"] for row in rows):
        table.add_row(variant, *(cells.get((variant, group), "") for group in groups))
    return table


def _cell(row: Mapping[str, Any], digits: int) -> str:
    from diysink.evaluation.verdict import ends

    middle = f"{100 * row['accuracy']:.1f}"
    if row["low"] is None or row["high"] is None:
        return middle
    low, high = ends(row)
    return f"{middle} \\[{100 * low:.{digits}f}, {100 * high:.{digits}f}]"
