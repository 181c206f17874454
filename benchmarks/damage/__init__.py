"""Random damage to feature stores, for `benchmarks/faults.py` and its test."""
