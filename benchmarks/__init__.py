"""Benchmarks: `make bench`. Peers are measured in turn with us in one run, and ratios count, not microseconds."""
