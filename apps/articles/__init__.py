"""Articles: the example resource. Copy this app to start your own, or delete it with ``manage.py removeexample``."""
