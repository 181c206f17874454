"""What the scripts on simulated data sets share."""
