"""What a run tells a person: the results file, the table, Markdown and comparison pictures.

Everything shown is made from `Results`, whose JSON form is `results.json`.
"""

from compsrt_plugin.report.comparison import Panel, comparison_picture, save_comparison
from compsrt_plugin.report.crop import Box, choose_crop
from compsrt_plugin.report.panels import panels_for
from compsrt_plugin.report.results import FLOAT_BITS, DatasetScores, FileRecord, ImageScores, Method, Results, Score
from compsrt_plugin.report.results_file import read_results, write_results
from compsrt_plugin.report.table import markdown_table, text_table, write_markdown

__all__ = [
    "FLOAT_BITS",
    "Box",
    "DatasetScores",
    "FileRecord",
    "ImageScores",
    "Method",
    "Panel",
    "Results",
    "Score",
    "choose_crop",
    "comparison_picture",
    "markdown_table",
    "panels_for",
    "read_results",
    "save_comparison",
    "text_table",
    "write_markdown",
    "write_results",
]
