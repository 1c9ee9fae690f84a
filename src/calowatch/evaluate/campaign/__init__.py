"""The fault campaign: every model on the same faults, on runs it has not seen, beside what no model can beat."""
