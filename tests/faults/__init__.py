"""Faults: real processes, real servers, things taken away."""
