"""Profilers: one way of finding node times per file, and ``assemble``, which makes a profile of them."""
