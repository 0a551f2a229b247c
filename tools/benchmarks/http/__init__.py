"""Requests over HTTP to the whole service, and where the time of a request goes: ``python -m tools.benchmarks.http --help``."""
