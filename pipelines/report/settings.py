"""Settings of the report."""

from pydantic import NonNegativeInt

from pipelines.schema import Settings, Text


class Report(Settings):
    """The page's title, and how many questions are shown that two variants answer differently."""

    title: Text
    differing: NonNegativeInt
