"""The tracking store: a database that is whole or absent, and artefacts that are found.

MLflow makes its tables one by one in the place where everybody looks, and keeps absolute paths. So
a database is made here under a temporary name, one process at a time; and when a checkout has been
moved, the paths in its own database are set right before anything reads them.
"""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote, urlparse

from diysink.artifact import FileLock, beside, sweep

ARTIFACTS = "artifacts"  # beside the database
HOME = "diysink.home"  # tag of the experiment: the folder of its local database
_NEEDED = {"alembic_version", "experiments", "runs", "registered_models", "model_versions"}
_PLACES = (  # where MLflow keeps absolute places of artefacts
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_SQLITE = "sqlite:///"
_log = logging.getLogger(__name__)


class TrackingDatabaseError(RuntimeError):
    """The tracking database is not whole, or lies where MLflow cannot use it."""


def prepare(uri: str, experiment: str) -> None:
    """Make the store ready: a database of one's own if it is one, and the experiment.

    Args:
        uri: MLflow's tracking URI.
        experiment: its name. A new one keeps its artefacts beside a local database; on a server,
            where the server says.

    Raises:
        TrackingDatabaseError: a local database is damaged.
    """
    database = local_database(uri)
    if database is None:
        _make_experiment(uri, experiment, None)
        return
    artifacts = database.parent / ARTIFACTS
    if unquote(str(artifacts)) != str(artifacts):
        raise TrackingDatabaseError(
            f"{artifacts}: MLflow takes the % in this path for an escape and would not find what "
            "it keeps there. Rename the folder, or keep runs elsewhere "
            "(server.mlflow_tracking_uri in conf/local/mlflow.yml)"
        )
    what = f"the tracking database {database}"
    with FileLock(database.with_name(f".{database.name}.lock"), what=what):
        sweep(database)
        sweep(database.with_name(f"{database.name}-journal"))
        if not database.is_file() or database.stat().st_size == 0:
            _make(database)
        check(database)
        _make_experiment(uri, experiment, artifacts.as_uri())
        moved = relocate(database, experiment)
    if moved:
        _log.warning("This checkout was moved: %d places of artefacts were set right", moved)


def local_database(uri: str) -> Path | None:
    """The file of a SQLite store, or None for any other store."""
    if not uri.startswith(_SQLITE):
        return None
    return Path(unquote(uri.removeprefix(_SQLITE).partition("?")[0])).absolute()


def check(database: Path) -> None:
    """Raise `TrackingDatabaseError` unless MLflow's tables are there and can be read."""
    try:
        # Not read-only: what a kill left half-committed is undone by whoever opens it next.
        with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=rw", uri=True)) as opened:
            rows = opened.execute("select name from sqlite_master where type = 'table'").fetchall()
            missing = sorted(_NEEDED - {str(row[0]) for row in rows})
            versions = [] if missing else opened.execute("select * from alembic_version").fetchall()
            found = opened.execute("pragma quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if "locked" in str(error):  # busy, which says nothing against it
            return
        raise _damaged(database, str(error)) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(database, str(error)) from error
    if missing or not versions:
        raise _damaged(database, f"it lacks {', '.join(missing) or 'the version of its tables'}")
    if found != "ok":
        raise _damaged(database, str(found))


def relocate(database: Path, experiment: str) -> int:
    """Set right the places of artefacts that moved with their database; how many were wrong.

    The experiment keeps the database's folder as a tag, which tells what it was called before. Only
    places in that folder are touched.
    """
    home = database.parent
    with closing(sqlite3.connect(database, timeout=60)) as opened, opened:
        (number,) = opened.execute(
            "select experiment_id from experiments where name = ?", (experiment,)
        ).fetchone()
        row = opened.execute(
            "select value from experiment_tags where experiment_id = ? and key = ?", (number, HOME)
        ).fetchone()
        old = _home_before_tags(opened, number, home) if row is None else Path(row[0])
        opened.execute(
            "insert or replace into experiment_tags (key, value, experiment_id) values (?, ?, ?)",
            (HOME, str(home), number),
        )
        if old is None or old == home:
            return 0
        changed = 0
        pairs = [(place(old), place(home)) for place in (Path.as_uri, Path.as_posix)]
        tables = {row[0] for row in opened.execute("select name from sqlite_master")}
        for table, column in _PLACES:
            for before, now in pairs if table in tables else ():
                done = opened.execute(
                    f"update {table} set {column} = ? || substr({column}, ?) "
                    f"where substr({column}, 1, ?) = ?",
                    (f"{now}/", len(before) + 2, len(before) + 1, f"{before}/"),
                )
                changed += done.rowcount
        return changed


def _home_before_tags(opened: sqlite3.Connection, number: int, home: Path) -> Path | None:
    """Where a database without the tag was made, if it is no longer there and its artefacts are."""
    (said,) = opened.execute(
        "select artifact_location from experiments where experiment_id = ?", (number,)
    ).fetchone()
    place = _path(said or "")
    if (
        place is None
        or place.name != ARTIFACTS
        or place.exists()
        or not (home / ARTIFACTS).is_dir()
    ):
        return None
    return place.parent


def _make(database: Path) -> None:
    from mlflow import MlflowClient

    database.parent.mkdir(parents=True, exist_ok=True)
    for ending in ("-journal", "-wal", "-shm"):  # of a database that was put aside without it
        stray = database.with_name(database.name + ending)
        if stray.exists():
            stray.replace(stray.with_name(f"{stray.name}.aside"))
    temporary = beside(database)
    escaped = str(temporary).replace("%", "%25").replace("?", "%3F")
    MlflowClient(f"{_SQLITE}{escaped}").search_experiments(max_results=1)
    temporary.replace(database)


def _make_experiment(uri: str, name: str, artifacts: str | None) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(uri)
    if (known := client.get_experiment_by_name(name)) is not None:
        if artifacts is None and _path(known.artifact_location or "") is not None:
            _log.warning(
                "The experiment %r on %s keeps artefacts in %s, a folder of one machine: others do "
                "not find them. Name another tracking.experiment.name in mlflow.yml",
                name,
                uri,
                known.artifact_location,
            )
        return
    try:
        client.create_experiment(name, artifacts)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # by somebody else, just now
            raise


def _path(place: str) -> Path | None:
    """The local folder that a path or a file: address means; None for any other address."""
    parsed = urlparse(place)
    match parsed.scheme:
        case "":
            return Path(place) if place.startswith("/") else None
        case "file":
            return Path(unquote(parsed.path))
        case _:
            return None


def _damaged(database: Path, why: str) -> TrackingDatabaseError:
    return TrackingDatabaseError(
        f"{database} is not a whole MLflow database ({why}). Restore a copy, or put it aside with "
        f"all that belongs to it (mv {database}* to another folder): the next run makes a new one. "
        "Results under data/ do not depend on it; runs and registered versions that only it knows "
        "are lost."
    )
