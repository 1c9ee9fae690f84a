"""Detector knowledge: which channels exist in each era, what is wired to what, index conventions, conditions."""
