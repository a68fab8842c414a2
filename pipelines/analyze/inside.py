"""Inside encoder and language model: what heads do at sinks."""

from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.analyze.study import Study, intervals


def tell_functions(
    records: Path,
    finetuned_models: Path,
    analyze: dict[str, Any],
    seed: int,
    workspace: str,
    device: str,
) -> pd.DataFrame:
    """Which heads do nothing at sinks, and which broadcast; empty where it is null."""
    from diysink.analysis.function import head_outputs, sink_function

    if analyze["function"] is None:
        return pd.DataFrame()
    study = Study("function", records, finetuned_models, analyze, workspace, device, seed=seed)
    seen = study.ask(lambda generator, questions, _: head_outputs(generator, questions, seed))
    return sink_function(seen, **intervals(analyze, seed))
