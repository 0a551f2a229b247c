"""What the environment says: which names in it nothing reads, and what staging keeps away from the world beyond it."""
