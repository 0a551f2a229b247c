"""What the plans over many sign-ins cannot know from the model."""

_ENDED = "n / 2 % 10 < 7"

COLUMNS = {
    # Three tenths stand, in any place of the order.
    "ended_at": f"CASE WHEN {_ENDED} THEN now() - n * interval '1 second' END",
    "ended_reason": f"CASE WHEN {_ENDED} THEN 'logout' ELSE '' END",
    "expires_at": "now() + n * interval '1 minute'",
    "current_issued_at": "now() - n * interval '1 second'",
}
