"""The LightningModule that applies a recipe: `Net` around a plain network, or a subclass in front of the user's class."""
