"""Reads SI-DEP certificates from a shared mailbox and brings each to its site, once."""
