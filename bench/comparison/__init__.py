"""Whether a later run is worse than an earlier one: two commits of one plan, two machines, or a run and what others measured.

``sides`` reads what is compared, ``pairing`` finds the episodes that both played, ``evidence`` weighs one rollout, ``judge``
all of them together, ``speed`` tells what they cost. The sentences are ``bench.wording.comparison``'s.
"""
