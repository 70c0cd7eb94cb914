"""Decoders that write text: their cache as state, a step over it, and how the next token is chosen."""
