"""The cases of the chosen suites' plans, one pytest item each. A suite is its suite.toml alone."""


def test_case(suite, case_id, carry_out):
    """The case is carried out, or found done, and its record is what the plan asks for."""
    carry_out(suite, case_id)
