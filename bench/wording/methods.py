"""How claims are judged, in words, by the id of a plan's method (sources: `bench.judge.stats`)."""

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
    sequential = method.id != "fixed-1"
    interval = "the repeated interval" if sequential else "the interval"
    looks = "at every look at the confidence of its boundary: " if sequential else ""
    spent = "at every look, error spent over the looks (Lan-DeMets): " if sequential else ""
    own = ", each step with boundaries of its own" if sequential else ""
    return {
        "rate_interval": "Wilson",
        "difference_interval": f"{looks}{difference}",
        "equivalence_test": (
            f"two one-sided tests: {interval} at 1 - 2 alpha lies inside the margin"
        ),
        "superiority_test": f"{spent}{superiority}",
        "multiplicity": f"Holm over the superiority claims that are asked{own}",
    }
