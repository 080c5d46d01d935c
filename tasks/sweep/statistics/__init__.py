"""What can be concluded from a sweep: pure functions over its scores, one statistic a module."""
