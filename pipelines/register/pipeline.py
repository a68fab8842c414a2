"""Wiring of the registration."""

from kedro.pipeline import Pipeline, node

from pipelines.register.nodes import assemble_candidate, register_candidate


def create_pipeline() -> Pipeline:
    """The evaluated models in; the candidate as one folder, and registered as challenger, out."""
    return Pipeline(
        [
            node(
                assemble_candidate,
                [
                    "finetuned_models",
                    "reweightings",
                    "params:evaluate",
                    "params:model",
                    "params:register",
                    "params:workspace",
                ],
                "candidate_model",
                name="assemble_candidate",
            ),
            node(
                register_candidate,
                [
                    "candidate_model",
                    "predictions",
                    "records",
                    "sink_profiles",
                    "params:evaluate",
                    "params:model",
                    "params:register",
                ],
                "registration",
                name="register_candidate",
            ),
        ]
    )
