"""What the plans over many jobs cannot know from the model: a state goes with its times, and no rare job was cancelled.

One user has four of each ten rows, so what a row is goes by tens. Cancelled ones and rare ones are many each, and none is both.
"""

_STATE = (
    "CASE WHEN n / 10 % 1000 = 1 THEN 'queued' WHEN n / 10 % 1000 = 2 THEN 'running' WHEN n / 10 % 1000 = 3 THEN 'failed'"
    " WHEN n / 10 % 10 = 4 THEN 'cancelled' ELSE 'succeeded' END"
)
COLUMNS = {
    "state": _STATE,
    "kind": "CASE n / 10 % 100 WHEN 5 THEN 'kind.rare' ELSE 'kind.common' END",
    "leased_until": f"CASE WHEN {_STATE} = 'running' THEN now() END",
    "problem": "NULL::jsonb",  # the document promises more of one than that it is JSON
    "finished_at": f"CASE WHEN {_STATE} NOT IN ('queued', 'running') THEN now() END",
}
