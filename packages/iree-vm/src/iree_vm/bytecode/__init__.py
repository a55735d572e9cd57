"""Bytecode: one op table (``ops.py``) from which encoder, decoder, assembler, disassembler,
verifier and translator derive.

``Program`` (``program.py``) is the in-memory form; ``encoding`` turns it into bytes and back,
``assembler``/``disassembler`` into text and back, ``verifier`` checks it before any use,
``translate`` turns a verified function into Python source, ``builder`` makes programs from Python.
"""
