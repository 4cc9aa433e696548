"""Peers of the benchmarks, each in a process of its own: ``worker`` is our side, the others are theirs."""
