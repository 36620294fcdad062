"""Trained models: compressed, stored, exported and loaded again."""
