"""The native executor: frames run over a pool of worker threads, one native call per invocation."""
