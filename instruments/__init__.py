"""The ten instruments, one package each; the core finds them by looking in this folder."""
