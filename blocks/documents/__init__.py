"""Bills as documents: fetched from a path, standard input or the web, and read to plain text."""

from blocks.documents.fetching import fetch_document

__all__ = ["fetch_document"]
