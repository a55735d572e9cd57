"""Strategies: ways to turn a dispatch into a kernel, tried best first."""
