"""Make truth: occupancy with known faults, written as detector files."""
