"""Writing text over a plan's stages: turns of lanes, and the token from the last stage back to the first."""
