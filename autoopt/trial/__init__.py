"""One training: a recipe in, an outcome out."""
