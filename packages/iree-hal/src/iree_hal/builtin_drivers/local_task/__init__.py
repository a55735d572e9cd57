"""Driver ``local-task``: native executables on the caller and the process's worker pool."""
