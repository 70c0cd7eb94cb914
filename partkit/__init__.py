"""partkit: how to split a PyTorch model over devices, how fast that will be, and whether it is worth it."""
