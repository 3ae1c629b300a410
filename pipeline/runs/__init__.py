"""Keys and provenance, store, catalogue, plan, execute, compare."""
