"""Counts and expectation to evidence, evidence to units, units to verdicts."""
