"""The heads on cached features: ridge paths, an epoch of the MLP, trees on shared bins, each against the plain way.

Runs the three scripts of `heads/` one after the other, each with its defaults (100,000 rows of 384 features);
`python -m benchmarks.heads.mlp --help` and the like tell what one of them can be asked. About ten minutes.
"""

from heads import boosting, mlp, ridge


def main() -> None:
    """Run all three."""
    for name, benchmark in (("ridge", ridge), ("mlp", mlp), ("lightgbm", boosting)):
        print(f"\n== {name}", flush=True)
        benchmark.main()


if __name__ == "__main__":
    main()
