"""Faults: real processes and servers that are stopped, frozen or killed."""
