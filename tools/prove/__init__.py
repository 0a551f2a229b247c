"""``manage.py prove``: a live experiment for each practice, on a private stack that runs the production settings."""
