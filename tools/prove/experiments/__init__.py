"""One live experiment per practice. Each module defines ``prove(sandbox) -> Result`` and uses only the public HTTP API."""
