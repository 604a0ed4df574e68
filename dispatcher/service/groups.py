"""Cuts long work into parts that are fetched, recorded and committed together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_groups(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items in their order, at most `size` at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))
