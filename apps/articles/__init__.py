"""Articles: the example resource. Copy this app to start one of your own, or delete it."""
