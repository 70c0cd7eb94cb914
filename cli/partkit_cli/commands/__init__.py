"""The commands, one a file; heavy imports stay inside the functions so that help is quick."""
