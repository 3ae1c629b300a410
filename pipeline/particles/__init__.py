"""What particle instruments have in common: counting, pitch angles, spectrograms."""
