"""The Kedro application around the library: nodes are plain functions, ``pipeline.py`` is wiring."""
