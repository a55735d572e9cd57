"""The IR: types, ops, text, verifier, rewriter, passes, interpreter, constant store."""
