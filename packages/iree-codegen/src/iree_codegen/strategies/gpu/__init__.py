"""Strategies of the invocation form: dispatch and ``InvocationDescription`` -> ``Kernel``."""
