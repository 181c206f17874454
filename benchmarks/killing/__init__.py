"""Parts of `benchmarks/kills.py`: how extractions are killed and what is looked at afterwards."""
