"""What the plans over many jobs cannot know from the model: a state goes with its times."""

_STATE = (
    "CASE n % 1000 WHEN 1 THEN 'queued' WHEN 2 THEN 'running' WHEN 3 THEN 'failed' WHEN 4 THEN 'cancelled'"
    " ELSE 'succeeded' END"
)
COLUMNS = {
    "state": _STATE,
    "kind": "CASE n % 1000 WHEN 0 THEN 'kind.rare' ELSE 'kind.' || n % 3 END",
    "leased_until": f"CASE WHEN {_STATE} = 'running' THEN now() END",
    "problem": "NULL::jsonb",  # the document promises more of one than that it is JSON
    "finished_at": f"CASE WHEN {_STATE} NOT IN ('queued', 'running') THEN now() END",
}
