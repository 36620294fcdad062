"""What becomes of a trained model: compressed, stored, exported, loaded again."""
