"""Sample columns and filter values for tests/test_plans.py, which reads query plans over many articles."""

COLUMNS = {
    "title": "'Title ' || md5(n::text)",
    "body": "'<p>common word' || n % 5000 || CASE WHEN n / 7 % 60 = 0 THEN ' uncommon' ELSE '' END"
    " || ' ' || md5(n::text) || '</p>'",
    "summary": "''",
    # A tag of all articles, of a tenth, of a hundredth, of old articles only, and many rare ones.
    "tags": "ARRAY['all', 'tag' || n % 2000] || CASE WHEN n / 7 % 10 = 0 THEN ARRAY['tenth'] ELSE '{}' END"
    " || CASE WHEN n / 7 % 100 = 0 THEN ARRAY['hundredth'] ELSE '{}' END"
    " || CASE WHEN n > 190000 THEN ARRAY['old'] ELSE '{}' END",
    "author": "CASE WHEN n % 10 = 0 THEN NULL WHEN n % 2 = 0 THEN (SELECT id FROM accounts_user ORDER BY created_at LIMIT 1)"
    " ELSE md5('id' || 1 + n % 5000)::uuid END",
    # A tenth are drafts and a hundredth scheduled, spread evenly over the authors.
    "published_at": "CASE WHEN n / 10 % 10 = 3 THEN NULL WHEN n / 10 % 100 = 7 THEN now() + n * interval '1 minute'"
    " ELSE now() - n * interval '1 minute' END",
}
VALUES = {
    "tag": ["all", "hundredth", "old", "tag7"],
    "search": [
        "common",
        "uncommon",
        "word7 or absent",
        '"common word"',
        '"word7 common"',
        "common -uncommon",
        "-common",
    ],
    "ranked": ["true"],
}
