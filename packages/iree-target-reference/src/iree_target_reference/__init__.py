"""Target reference: carries the dispatch IR, its driver interprets it."""
