"""Driver ``local-sync``: native executables on the calling thread, no thread of its own."""
