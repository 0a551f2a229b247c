"""What staging keeps away from the world beyond it."""
