"""What a study keeps in its folder: the journal with a record for each trial, the settled space, the verdict."""
