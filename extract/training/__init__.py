"""Training of the network itself: pretraining of the blind-spot denoiser on spectra made as they are needed."""
