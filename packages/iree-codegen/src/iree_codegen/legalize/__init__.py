"""Rewrites of kernel IR into what the target has: vector math, narrow floats."""
