"""Transports: how a stage sends to the next. One kind of channel a file, all with the same calls."""
