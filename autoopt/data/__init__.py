"""The examples, from their source to batches on the device."""
