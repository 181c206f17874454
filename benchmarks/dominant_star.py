"""How often intervals of a paired difference cover it where one star holds much of it, and how wide they are.

One star fails in the first of two predictions: with probability k / n for each of n stars, its squared residual grows by
so much that alone it holds a share of all absolute differences. k is how many such stars a sample has on average; the
true difference counts them, so a sample without one is short of it and one with two has too much.

Rules tried, on the same data sets and the same resamples: `now` (percentile, and studentised where no star holds half),
a floor on the standard errors of resamples, percentile alone from a lower share on.

A rule is accepted, as fixed before anything was run, if in every cell, of 1000 sets,
1. coverage is 93 % or more wherever that of `now` is;
2. every interval is finite, and where one star holds 15 % or more of the absolute differences (shares 0.15 to 0.5) the
   median width is below 3 times that of the percentile interval, and so is the largest ratio;
3. the combined rule (p <= 0.05, 0 outside the interval, n_eff >= 12) holds falsely in no more than 5 % of the sets
   wherever it did so with `now`, and elsewhere in no more than 0.5 % of the sets more than with `now`.
Of those accepted the simplest is taken, of two as simple the one with the shorter intervals.
"""
