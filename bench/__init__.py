"""Benchmarks: figures of this machine, printed; nothing is asserted."""
