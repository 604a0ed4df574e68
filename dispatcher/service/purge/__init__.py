"""Deletes at the legal term what is ours, everywhere, and proves it."""

from __future__ import annotations

from dispatcher.service.purge.brakes import TOLD, Brake, Braked
from dispatcher.service.purge.due import Item, Plan, items
from dispatcher.service.purge.pages import lying
from dispatcher.service.purge.run import Purge, Report

__all__ = ["TOLD", "Brake", "Braked", "Item", "Plan", "Purge", "Report", "items", "lying"]
