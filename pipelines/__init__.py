"""The Kedro application: nodes are plain functions, ``pipeline.py`` is wiring."""
