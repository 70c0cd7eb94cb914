"""A plan's stages at work on many items: over a process a device, or in one process."""
