"""Before MLflow is asked anything: its store is ready, and one's own server is one's own."""

import logging
from pathlib import Path
from typing import Any

from kedro.config import MissingConfigException, OmegaConfigLoader
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl

LOCAL = "local"
_log = logging.getLogger(__name__)


class Store:
    """Makes the tracking store ready when a project is opened.

    ``conf/local/mlflow.yml`` counts with every ``--env``: where one's runs are kept does not depend
    on what is run. Other files of ``conf/local`` are of the environment ``local``, as Kedro has it;
    where they are left out, that is said.
    """

    @hook_impl(tryfirst=True)  # kedro-mlflow reads the configuration next, and asks the store
    def after_context_created(self, context: KedroContext) -> None:
        """Settle the configuration and prepare the store that it names."""
        import mlflow

        from pipelines.store import prepare

        loader = context.config_loader
        try:
            chosen = dict(loader["mlflow"])
        except MissingConfigException:
            return
        env = getattr(loader, "env", None) or LOCAL
        folder = Path(loader.conf_source) / LOCAL
        if env != LOCAL and folder.is_dir():
            chosen |= own_settings(folder)
            loader["mlflow"] = chosen
            _say_what_is_left_out(folder, env)
        if mlflow.active_run() is not None:  # somebody else's run, in a store of theirs
            return
        server = (chosen.get("server") or {}).get("mlflow_tracking_uri")
        experiment = ((chosen.get("tracking") or {}).get("experiment") or {}).get("name")
        if server and experiment:
            prepare(str(server), str(experiment))


def own_settings(folder: Path) -> dict[str, Any]:
    """What ``mlflow.yml`` in the folder ``conf/local`` says; empty where there is none."""
    from pipelines.settings import CONFIG_LOADER_ARGS

    arguments = {**CONFIG_LOADER_ARGS, "base_env": LOCAL, "default_run_env": LOCAL}
    loader = OmegaConfigLoader(conf_source=str(folder.parent), **arguments)
    try:
        return dict(loader["mlflow"])
    except MissingConfigException:
        return {}


def _say_what_is_left_out(folder: Path, env: str) -> None:
    names = sorted(
        path.name
        for path in folder.glob("*.yml")
        if not path.name.startswith(("mlflow", "credentials"))
    )
    if names:
        _log.warning(
            "--env %s: of conf/local only mlflow.yml counts, not %s; put what they say into a "
            "folder of your own under conf/, and name that",
            env,
            ", ".join(names),
        )
