"""A verdict as a sentence, tables, figures and a page."""
