"""What changes accounts and sign-ins."""
