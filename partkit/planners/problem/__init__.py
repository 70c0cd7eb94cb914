"""One planning problem: graph, cluster and request checked against each other, and the blocks that cuts lie between."""
