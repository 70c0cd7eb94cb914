"""The command line of partkit."""
