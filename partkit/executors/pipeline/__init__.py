"""Pipelines: a plan's stages run many items at once, with a process per device or in one process."""
