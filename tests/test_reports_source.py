"""What reports take of a results folder."""

from dataclasses import replace
from itertools import permutations

from reports_fakes import source_of
from reports_other_fakes import audit


def test_of_records_that_differ_in_their_method_alone_the_last_one_made_counts():
    first = audit()
    made = {
        name: replace(
            first,
            run_id=run_id,
            spec={**first.spec, "method": method},
            run={**first.run, "time": f"2026-11-2{day}T00-00-00Z"},
        )
        for name, run_id, method, day in (
            ("old", "f" * 64, "version 1", 1),
            ("new", "0" * 64, "version 2", 2),
        )
    }
    other = replace(made["old"], run_id="a" * 64, spec={**first.spec, "seed": 1})
    for records in permutations([*made.values(), other]):
        assert source_of(records).of_kind("audit") == (made["new"], other)
