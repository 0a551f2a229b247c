"""What reads accounts and sign-ins."""
