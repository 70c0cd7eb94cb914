"""How much of a device's free memory is left alone."""

MARGIN = 0.08
"""Share of the free memory: for workspaces of libraries, fragments, other tenants that grow."""
