"""A tiny app that shows every practice: the practices are tested and proved on it, so that no feature is named there."""
