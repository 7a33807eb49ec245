"""Encodes prompts to embeddings."""
