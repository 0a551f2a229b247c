"""The operations page of the admin: what the whole service is doing, drawn on the server."""
