"""How processes send messages, start cleanly and end with a reason; for executors and for trials on several devices."""
