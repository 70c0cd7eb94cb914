"""From a name to a captured graph and its weights."""
