"""Planners by name, one algorithm a file."""
