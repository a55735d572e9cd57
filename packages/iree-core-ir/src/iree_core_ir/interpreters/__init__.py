"""Numpy meanings of the dialects' ops, one module per dialect."""
