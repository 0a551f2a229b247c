"""HTTPS: pages are redirected to it, API calls over plain HTTP refused; the scheme is believed from trusted proxies alone."""
