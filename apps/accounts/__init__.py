"""Users, their sessions, and the tokens of those sessions."""
