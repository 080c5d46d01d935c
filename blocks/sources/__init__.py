"""Readers of the files and databases that data comes from: records out, nothing decided."""
