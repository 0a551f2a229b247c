"""Alerts: one table (``table``) that makes Prometheus's rules, what the operations page shows, and mails to operators."""
