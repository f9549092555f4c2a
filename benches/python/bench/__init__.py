"""Measures Tachyon beside its peers: `python -m bench`, started by `make bench`.

docs/internals/benchmarks.md has the method.
"""
