"""SPIR-V without a toolchain: grammar table, assembler, module builder."""
