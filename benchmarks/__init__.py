"""The same work done by Headrace, by peers and by the bare minimum, side by side."""
