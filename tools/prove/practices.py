"""The thirteen practices: the number of each in the guide, by its word."""

PRACTICES = {
    "caching": 128,
    "scaling": 129,
    "database": 130,
    "throttling": 131,
    "headers": 132,
    "validation": 133,
    "https": 134,
    "observability": 135,
    "errors": 136,
    "jobs": 137,
    "environment": 138,
    "shutdown": 139,
    "tokens": 140,
}
WORDS = tuple(PRACTICES)
