"""Mock stellar spectra that look like the users' survey: physics in miniature, noise, and their file layout."""
