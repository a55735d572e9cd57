"""From a dispatch to kernel IR: strategies, vector unrolling, compile workers and cache."""
