"""Kernel IR in invocation form -> SPIR-V."""
