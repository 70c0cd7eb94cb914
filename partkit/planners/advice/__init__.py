"""Which way to run a model: a cost model a file, each with the same question; :mod:`.advise` has the table of them."""
