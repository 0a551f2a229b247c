"""HTTPS: over plain HTTP, pages are redirected and API calls refused; only trusted proxies can report the scheme."""
