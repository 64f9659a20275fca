"""Private classification of sentences: averaged embeddings, or a small transformer."""

__all__: list[str] = []
