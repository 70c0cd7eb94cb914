"""What an assignment of nodes to stages costs, and what crosses between stages."""
