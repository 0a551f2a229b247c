"""Database: keyset pages, versions, keys, and what a failing PostgreSQL looks like from outside."""
