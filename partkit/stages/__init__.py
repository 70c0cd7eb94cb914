"""A captured graph, cut: one flat graph for each stage, with its own tensors on its own device."""
