"""routing.yaml into core values, or every problem at once with its line and column."""

from __future__ import annotations

from dispatcher.rules.file import RoutingFile
from dispatcher.rules.loading import load, parse
from dispatcher.rules.queues import print_targets
from dispatcher.rules.remarks import warnings
from dispatcher.rules.schema import json_schema

__all__ = ["RoutingFile", "json_schema", "load", "parse", "print_targets", "warnings"]
