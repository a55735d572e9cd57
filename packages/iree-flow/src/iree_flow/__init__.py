"""Placement, dispatch creation, scheduling, memory planning; runs the pipeline."""
