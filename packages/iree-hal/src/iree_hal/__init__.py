"""Runtime: drivers, devices, buffers, command buffers, executor, executable loaders."""
