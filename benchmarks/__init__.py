"""pdeflow and its peers on the same inputs in one run: ``python -m benchmarks.NAME --json FILE``."""
