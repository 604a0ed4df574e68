"""Servers that tests start for themselves, on free loopback ports, and stop."""
