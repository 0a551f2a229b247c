"""What a thread has spent on its request so far."""

import threading


class Usage(threading.local):
    """Statements that the thread has sent to PostgreSQL since its request began, and the seconds until their results."""

    queries = 0
    query_seconds = 0.0

    def reset(self) -> None:
        """Count from zero, for a new request."""
        self.queries, self.query_seconds = 0, 0.0


usage = Usage()
