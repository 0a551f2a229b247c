"""Validation: what comes in is bounded, named, typed and clean before any other code sees it."""
