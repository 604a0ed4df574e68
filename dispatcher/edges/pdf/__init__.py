"""Looks into PDF files in a child process, where a bad one can hurt only itself.

Nothing is imported here: the child is to load no more than it needs.
"""
