"""The truth a simulated pass is made of, shared by all instruments."""
