"""Every sentence that states a result, in one place, so that each can be read, weighed and tested.

How numbers look is ``bench.wording.numbers``'s.
"""

from bench.wording.notes import batch_note, replays_note, resets_note, steps_sentence
from bench.wording.plans import (
    USUAL_GAIN,
    cost_lines,
    discordance_note,
    effort_note,
    limit_sentence,
    looks_sentence,
    out_of_reach_note,
    plan_sentences,
    power_heading,
)
from bench.wording.text import sentence_case
from bench.wording.verdicts import (
    MOST_NAMED,
    TELLING_SEEDS,
    bounds_note,
    claim_sentence,
    ended_early_note,
    no_conclusion,
    not_asked_note,
    overall_reason,
    sanity_sentence,
    seeds_note,
    these_checkpoints,
    verdict_line,
    verdict_sentence,
)
