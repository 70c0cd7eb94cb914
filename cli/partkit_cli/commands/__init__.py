"""The commands, one per file; heavy imports stay inside the functions so that help is quick."""
