"""Environment: warnings about misspelt names, and the redirection of staging's mails."""
