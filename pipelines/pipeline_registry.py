"""Every pipeline by name. ``__default__`` is the whole path from records to a registered model."""

from kedro.pipeline import Pipeline

from pipelines import (
    adopt,
    align,
    analyze,
    benchmarks,
    claims,
    dose,
    evaluate,
    finetune,
    inspect,
    miniature,
    prepare,
    promote,
    register,
    report,
    reweight,
    sinks,
    tune,
)

STAGES = {
    "prepare": prepare,
    "sinks": sinks,
    "align": align,
    "finetune": finetune,
    "reweight": reweight,
    "evaluate": evaluate,
    "dose": dose,
    "analyze": analyze,
    "claims": claims,
    "register": register,
    "report": report,
}
ON_REQUEST = {
    "adopt": adopt,
    "benchmarks": benchmarks,
    "inspect": inspect,
    "miniature": miniature,
    "promote": promote,
    "tune": tune,
}


def register_pipelines() -> dict[str, Pipeline]:
    """Pipelines by name; ``__default__`` chains the stages in the order of the data."""
    named = {
        name: Pipeline(stage.create_pipeline(), tags=f"stage.{name}")
        for name, stage in (STAGES | ON_REQUEST).items()
    }
    return named | {"__default__": sum((named[name] for name in STAGES), Pipeline([]))}
