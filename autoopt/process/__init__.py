"""Processes that talk to each other, start cleanly and end with a reason: what executors and trials on several devices share."""
