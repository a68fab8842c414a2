"""One self-contained HTML page that tells what a run found, and how sure that is."""

from diysink.report.inputs import Inputs
from diysink.report.page import render

__all__ = ["Inputs", "render"]
