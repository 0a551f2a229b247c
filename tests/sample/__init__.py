"""A small app that uses every practice. Tests and proofs of practices use it, so that they name no real app."""
