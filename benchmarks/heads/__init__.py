"""Speed of the heads against the plain ways to fit the same, one script for each family of heads."""
