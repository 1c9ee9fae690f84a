"""Runs judged: monitoring, campaigns, exploration, reports."""
