"""Data sets one can trust: splits, windows, preparation fitted on the training side, a cache, torch data sets."""
