"""What ``partkit doctor`` looks at, one file for each group of checks; :mod:`.examine` has the table of them."""
