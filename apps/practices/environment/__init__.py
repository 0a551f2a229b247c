"""Environment: the redirection of staging's mails. settings/env.py has the rest."""
