"""Observability: request ids that follow the work, JSON log lines without secrets, and metrics of the whole fleet.

``setup`` switches it on (Django calls it through ``LOGGING_CONFIG``), ``middleware`` writes the access line and counts requests,
``redaction`` removes secrets from log lines and reports, and ``mechanisms.metrics_store`` adds up all processes in Redis.
"""
