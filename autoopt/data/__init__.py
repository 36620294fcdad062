"""The examples, from where they are kept to ready batches."""
