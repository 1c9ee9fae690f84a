"""From data sets to bundles."""
