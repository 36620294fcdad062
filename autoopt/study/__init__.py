"""The search itself: ask, train, tell, stop; then confirm, and the verdict."""
