"""The pretend SI-DEP. Knows nothing of how certificates are read or routed."""
