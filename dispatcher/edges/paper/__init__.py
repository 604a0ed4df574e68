"""Draws the pages that the program adds for the people at a desk."""

from __future__ import annotations

from dispatcher.core.bordereau import Bordereau
from dispatcher.edges.paper import listing, separator

__all__ = ["PdfPaper"]


class PdfPaper:
    """See `dispatcher.ports.Paper`. Safe to share between threads."""

    def bordereau(self, page: Bordereau) -> bytes:
        """Return the list of a site's day; see `Paper.bordereau`."""
        return listing.draw(page)

    def separator(self, site_name: str, count: int) -> bytes:
        """Return a page to lay before a batch; see `Paper.separator`."""
        return separator.draw(site_name, count)
