"""Fisher information of the labels in noisy spectra: gradients of clean spectra, and the matrices made of them."""
