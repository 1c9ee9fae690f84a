"""What every room stands on: errors, schemas, atomic writes, provenance, progress. Knows no detector."""
