"""The LightningModule that applies a recipe: our own around a plain network, or a subclass put in front of the user's."""
