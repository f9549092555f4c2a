"""Measures Tachyon beside its peers: `python -m bench`, started by `make bench`. docs/benchmarks.md has the method."""
