"""What can predict an expectation, one file per model; the literal dict of names."""
