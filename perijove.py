"""The face of perijove: the few names a notebook needs."""
