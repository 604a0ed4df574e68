"""Reads messages, with what their documents were found to be: here, or in a child process.

Nothing is imported here: the child is to load no more than it needs.
"""
