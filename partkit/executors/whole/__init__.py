"""Ways to run a whole model, the rivals of a plan: one file each."""
