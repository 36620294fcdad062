"""A verdict as a sentence, a table and a page."""
