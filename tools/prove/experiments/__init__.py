"""One live experiment a practice. Each module has ``prove(ground) -> Evidence`` and asks only what a stranger could ask."""
