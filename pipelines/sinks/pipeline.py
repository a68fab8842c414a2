"""Wiring of the ``sinks`` stage."""

from kedro.pipeline import Pipeline, node

from pipelines.sinks.nodes import judge_sinks, measure_sinks, show_sinks, tabulate_sinks


def create_pipeline() -> Pipeline:
    """Records in; profiles, verdicts, tables, figures and examples out."""
    return Pipeline(
        [
            node(
                measure_sinks,
                [
                    "records",
                    "params:sinks",
                    "params:device",
                    "params:workspace",
                    "params:engine",
                    "params:ray",
                ],
                "sink_profiles",
                name="measure_sinks",
            ),
            node(
                tabulate_sinks,
                ["sink_profiles", "params:workspace"],
                ["sink_histogram", "sink_counts", "sink_positions", "sink_figures"],
                name="tabulate_sinks",
            ),
            node(
                show_sinks,
                ["records", "sink_profiles", "params:sinks", "params:device"],
                "sink_examples",
                name="show_sinks",
            ),
            node(
                judge_sinks,
                ["sink_profiles", "params:sinks"],
                ["sink_verdicts", "sink_evidence"],
                name="judge_sinks",
            ),
        ]
    )
