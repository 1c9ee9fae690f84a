"""Figures and report parts."""
