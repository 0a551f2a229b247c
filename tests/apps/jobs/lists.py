"""Columns of many jobs for tests/test_plans.py: a state determines its times, and no job of the rare kind was cancelled.

One user has four of each ten rows, so what a row is goes by tens. Cancelled ones and rare ones are many each, and none is both.
"""

_RARE = ("queued", "running", "discarded", "scheduled", "retryable")
_STATE = (
    "CASE "
    + " ".join(f"WHEN n / 10 % 1000 = {number} THEN '{state}'" for number, state in enumerate(_RARE, 1))
    + " WHEN n / 10 % 10 = 7 THEN 'cancelled' ELSE 'succeeded' END"
)
COLUMNS = {
    "state": _STATE,
    "kind": "CASE n / 10 % 100 WHEN 8 THEN 'kind.rare' ELSE 'kind.common' END",
    "leased_until": f"CASE WHEN {_STATE} = 'running' THEN now() END",
    "problem": "NULL::jsonb",  # the document promises more of one than that it is JSON
    "finished_at": f"CASE WHEN {_STATE} NOT IN ('scheduled', 'queued', 'running', 'retryable') THEN now() END",
}
