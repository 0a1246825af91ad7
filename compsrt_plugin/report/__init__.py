"""Present the results of a run: results.json, tables, Markdown and comparison images.

All of it is made from `Results`, whose JSON form is `results.json`. `columns` writes tables and `drawing` draws, for
the whole package.
"""

from compsrt_plugin.report.comparison_image import CaptionedImage, draw_comparison, save_comparison
from compsrt_plugin.report.crop import Crop, choose_crop
from compsrt_plugin.report.panels import panels_for
from compsrt_plugin.report.results import FLOAT_BITS, DatasetScores, FileRecord, ImageScores, Method, Results, Score
from compsrt_plugin.report.results_file import read_results, write_results
from compsrt_plugin.report.results_table import markdown_table, results_text, write_markdown

__all__ = [
    "FLOAT_BITS",
    "CaptionedImage",
    "Crop",
    "DatasetScores",
    "FileRecord",
    "ImageScores",
    "Method",
    "Results",
    "Score",
    "choose_crop",
    "draw_comparison",
    "markdown_table",
    "panels_for",
    "read_results",
    "results_text",
    "save_comparison",
    "write_markdown",
    "write_results",
]
