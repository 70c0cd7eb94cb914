"""Profilers: one way of finding node times a file, and ``assemble``, which makes a profile of them."""
