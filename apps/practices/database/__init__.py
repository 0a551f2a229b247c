"""Database: keyset lists, bounded connections, versioned writes, replicas, and failures as problems."""
