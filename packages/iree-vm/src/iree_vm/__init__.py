"""Runtime: bytecode, artefact, modules, load()."""
