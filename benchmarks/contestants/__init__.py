"""Who takes part: each module opens one way of doing the same work."""
