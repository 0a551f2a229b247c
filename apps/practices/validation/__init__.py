"""Validation: all input is bounded, declared, typed and clean before other code sees it."""
