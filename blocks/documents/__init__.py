"""Bills as documents: fetched from a path, standard input or the web, and read to plain text."""

from blocks.documents.fetching import fetch_document, shown_path

__all__ = ["fetch_document", "shown_path"]
