"""Lower bounds: no plan for the same request does better."""
