"""Headers: the security headers of every response, including errors, cached responses, admin and docs; CORS."""
