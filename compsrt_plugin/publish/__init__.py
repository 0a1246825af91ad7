"""Describe a packed network for the Hugging Face Hub and for OpenModelDB."""

from compsrt_plugin.publish.hub import write_repository
from compsrt_plugin.publish.open_model_db import write_entry

__all__ = ["write_entry", "write_repository"]
