"""MLIR text: lexer, parser, printer and the compiler of declarative assembly formats."""
