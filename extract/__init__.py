"""Whatever runs the encoder or reads spectra; it writes feature stores through `cache`."""
