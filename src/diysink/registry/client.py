"""Requests to the model registry: again while the database is busy, clear where it is away.

Two processes that write to one database may meet: sqlite says "database is locked", a first write
of one tag by both says "UNIQUE constraint failed". Either is over a moment later, and every write
here may be repeated. An address where nothing answers is an error that names the address, before
MLflow's own minutes of trying.
"""

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import mlflow
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

T = TypeVar("T")
_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # seconds between tries, about 6 in all
_BUSY = ("database is locked", "unique constraint", "duplicate key", "deadlock", "serializ")
_AWAY = ("failed with exception", "max retries exceeded", "unable to open database")


class RegistryUnreachableError(ConnectionError):
    """The registry's address does not answer, or what is there is no database of MLflow."""


def address() -> str:
    """Where the registry is: a server, or a database; passwords left out."""
    uri = str(mlflow.get_registry_uri())
    try:
        return make_url(uri).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return uri


def database() -> Path | None:
    """The registry's sqlite file, or None where it is something else."""
    uri = str(mlflow.get_registry_uri())
    if not uri.startswith("sqlite"):
        return None
    path = make_url(uri).database
    return None if path is None or path.startswith((":", "file:")) else Path(path).resolve()


def request(send: Callable[[MlflowClient], T]) -> T:
    """What ``send`` gets from the registry; sent again while the database is busy."""
    for wait in _WAITS:
        try:
            return send(MlflowClient())
        except MlflowException as error:
            if not any(sign in str(error).lower() for sign in _BUSY):
                raise
            time.sleep(wait * random.uniform(0.5, 1.5))
    return send(MlflowClient())


@contextmanager
def reaching() -> Iterator[None]:
    """Errors of a registry that is away are `RegistryUnreachableError`, with its address."""
    _look()
    try:
        yield
    except (MlflowException, SQLAlchemyError, requests.exceptions.ConnectionError) as error:
        if isinstance(error, MlflowException) and not _is_away(error):
            raise
        raise _unreachable(str(error)) from error


def _look() -> None:
    """One cheap look: MLflow tries for minutes where nothing is."""
    uri, file = str(mlflow.get_registry_uri()), database()
    if file is not None and file.exists():
        try:
            with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True)) as connection:
                connection.execute("PRAGMA schema_version").fetchone()
        except sqlite3.Error as error:
            if "locked" not in str(error):
                raise _unreachable(str(error)) from error
    if uri.startswith(("http://", "https://")):
        for wait in (0.5, 1.0, None):
            try:
                requests.get(f"{uri.rstrip('/')}/health", timeout=10, stream=True).close()
                return
            except requests.exceptions.SSLError:
                return  # MLflow has settings of its own for certificates
            except requests.exceptions.RequestException as error:
                if wait is None:
                    raise _unreachable(_innermost(error)) from error
                time.sleep(wait)


def _is_away(error: MlflowException) -> bool:
    return any(sign in str(error).lower() for sign in _AWAY)


def _innermost(error: BaseException) -> str:
    """What a chain of wrapped errors began with: ``Connection refused``."""
    while True:
        inner = getattr(error, "reason", None) or next(iter(error.args), None)
        if not isinstance(inner, BaseException):
            return str(error)
        error = inner


def _unreachable(why: str) -> RegistryUnreachableError:
    return RegistryUnreachableError(
        f"the MLflow registry at {address()} cannot be reached ({why[:300]}); expected a running "
        "server or a database of MLflow there. Start it, or set another address "
        "(conf/local/mlflow.yml, or MLFLOW_TRACKING_URI)."
    )
