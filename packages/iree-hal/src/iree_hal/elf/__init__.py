"""ELF64 relocatable objects: parse (checked), relocation tables per machine, load (W^X), no LLVM needed."""
