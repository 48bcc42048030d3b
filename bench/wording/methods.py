"""How claims are judged, in words: what the id of a plan's method stands for
(`bench.judge.stats` has the sources)."""

from bench.plan.document import Method

DIFFERENCE = {
    "pooled": "hull of Tango's score interval and a bootstrap over (seed, task, init)",
    "resampled": (
        "hull of Tango's score interval and a bootstrap over seeds, then over (task, init) inside"
        " each"
    ),
}
SUPERIORITY = {
    "pooled": "exact McNemar, one-sided, flipping (seed, task, init) as a whole",
    "resampled": (
        "exact McNemar, one-sided, flipping (seed, task, init) as a whole; and the interval at 1 -"
        " alpha above 0"
    ),
}


def method_in_words(method: Method) -> dict[str, str]:
    """A phrase for each interval and test, and for what is done about several claims."""
    difference, superiority = DIFFERENCE[method.seeds], SUPERIORITY[method.seeds]
    if method.id == "fixed-1":
        return {
            "rate_interval": "Wilson",
            "difference_interval": difference,
            "equivalence_test": (
                "two one-sided tests: the interval at 1 - 2 alpha lies inside the margin"
            ),
            "superiority_test": superiority,
            "multiplicity": "Holm over the superiority claims that are asked",
        }
    return {
        "rate_interval": "Wilson",
        "difference_interval": (f"at every look at the confidence of its boundary: {difference}"),
        "equivalence_test": (
            "two one-sided tests: the repeated interval at 1 - 2 alpha lies inside the margin"
        ),
        "superiority_test": (
            f"at every look, error spent over the looks (Lan-DeMets): {superiority}"
        ),
        "multiplicity": (
            "Holm over the superiority claims that are asked, each step with boundaries of its own"
        ),
    }
