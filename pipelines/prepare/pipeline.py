"""Wiring of the ``prepare`` stage."""

from kedro.pipeline import Pipeline, node

from pipelines.prepare.nodes import (
    admit_records,
    check_records,
    generate_records,
    take_in_records,
)


def create_pipeline() -> Pipeline:
    """Raw data in; records, quarantine table, validation summary and Data Docs out."""
    return Pipeline(
        [
            node(
                generate_records,
                ["params:prepare", "params:seed", "params:workspace"],
                "raw",
                name="generate_records",
            ),
            node(
                take_in_records,
                ["raw", "params:prepare", "params:workspace"],
                ["candidates", "quarantine"],
                name="take_in_records",
            ),
            node(
                check_records,
                ["candidates", "quarantine", "params:prepare", "params:workspace"],
                ["validation", "data_docs"],
                name="check_records",
            ),
            node(admit_records, ["candidates", "validation"], "records", name="admit_records"),
        ]
    )
