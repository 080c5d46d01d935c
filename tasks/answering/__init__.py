"""Answers from course materials that cite them, conversations that remember, and threads."""
