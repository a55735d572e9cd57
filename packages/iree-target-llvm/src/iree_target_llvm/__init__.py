"""Target llvm-cpu: kernel IR to native objects through LLVM."""
