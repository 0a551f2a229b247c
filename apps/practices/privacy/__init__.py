"""Privacy: what a user gets of their personal data, what is deleted with the account, and how long data is kept."""
