"""Pure functions on scores and labels: ranking, calibration, localisation, delay."""
