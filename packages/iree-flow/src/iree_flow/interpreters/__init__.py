"""Numpy meanings of this package's dialects."""
