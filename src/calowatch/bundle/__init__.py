"""Trained artefacts: save, load, and the only code from counts to scores."""
