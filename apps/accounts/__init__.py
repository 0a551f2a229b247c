"""Users, their sign-ins (refresh families) and the tokens that prove them."""
