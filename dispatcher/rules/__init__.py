"""routing.yaml into core values, or every problem at once with its line and column."""

from __future__ import annotations

from dispatcher.rules.loading import load
from dispatcher.rules.queues import print_targets
from dispatcher.rules.remarks import warnings
from dispatcher.rules.schema import json_schema

__all__ = ["json_schema", "load", "print_targets", "warnings"]
