"""The compile-time half: the ``vm`` dialect and its way to bytecode. Needs iree-core-ir."""
