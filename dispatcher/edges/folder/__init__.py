"""Delivers documents into a site's folder, so that a crash leaves one file or none."""

from __future__ import annotations

from dispatcher.edges.folder.mounts import MountMemory, MountTables
from dispatcher.edges.folder.names import reference_of, safe_name
from dispatcher.edges.folder.site_folder import SiteFolder

__all__ = ["MountMemory", "MountTables", "SiteFolder", "reference_of", "safe_name"]
