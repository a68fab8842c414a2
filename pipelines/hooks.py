"""Kedro hooks."""

HOOKS: tuple[object, ...] = ()
