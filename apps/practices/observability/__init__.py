"""Observability: a request id that follows the work, JSON lines without secrets, and metrics of the whole fleet.

``setup`` switches it on (Django calls it through ``LOGGING_CONFIG``), ``middleware`` writes the access line and counts,
``redaction`` keeps secrets out of everything that leaves the process as text, ``store`` adds up all processes in Redis.
"""
