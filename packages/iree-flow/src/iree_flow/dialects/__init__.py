"""Dialects of this package."""
