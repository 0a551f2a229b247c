"""Column values of many sessions, for the tests of query plans."""

_ENDED = "n / 2 % 10 < 7"

COLUMNS = {
    # Three in ten are active, spread over the order.
    "ended_at": f"CASE WHEN {_ENDED} THEN now() - n * interval '1 second' END",
    "ended_reason": f"CASE WHEN {_ENDED} THEN 'logout' ELSE '' END",
    "expires_at": "now() + n * interval '1 minute'",
    "current_issued_at": "now() - n * interval '1 second'",
}
