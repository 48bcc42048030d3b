"""World latents of waiting queries, all in one batch, and each window once in its episode."""

from collections.abc import Sequence

import torch
from torch import Tensor

from wmvla.rollout.episode import Query
from wmvla.world.encoder import WorldEncoder

KEPT = "latents"
"""Key of ``kept``: latents (C * D,) of the last windows, by the step of their last frame."""


class HistoryLatents:
    """Latents of T = ``context_frames`` windows of m = ``window`` frames, one step apart, up to a
    query's newest frame.

    ``encoded`` counts the windows that went through the encoder.

    Non-obvious: a window is named by the step of its last frame. Before the first step there is
    only the first frame, so at step 0 all T windows are the same one. The size of a batch can move
    the last bits of a latent, as of any answer.
    """

    def __init__(self, encoder: WorldEncoder, context_frames: int, window: int) -> None:
        encoder.check_window(window)
        self.encoder, self.context_frames, self.window = encoder, context_frames, window
        self.encoded = 0

    def __call__(self, queries: Sequence[Query]) -> Tensor:
        """History (B, T, C * D), as ``SmolVLAWorldPolicy.encode_history`` gives it."""
        needed = [
            [max(0, query.step - back) for back in reversed(range(self.context_frames))]
            for query in queries
        ]
        missing = [
            sorted(set(ends) - set(query.kept.get(KEPT, {})))
            for query, ends in zip(queries, needed, strict=True)
        ]
        found = self._encode(queries, [len(ends) for ends in missing])
        histories = []
        for query, ends, absent, latents in zip(queries, needed, missing, found, strict=True):
            known = query.kept.get(KEPT, {}) | dict(zip(absent, latents, strict=True))
            query.kept[KEPT] = {end: known[end] for end in ends}
            histories.append(torch.stack([known[end] for end in ends]))
        return torch.stack(histories)

    def _encode(self, queries: Sequence[Query], counts: list[int]) -> list[Tensor]:
        """For each query the latents (count, C * D) of its newest ``count`` windows."""
        frames: list[Tensor] = []
        clips: list[list[int]] = []  # which of all the frames each clip has
        sizes = []
        first = 0
        for query, count in zip(queries, counts, strict=True):
            assert query.frames is not None
            shape = query.frames.shape
            assert shape[1] == self.context_frames + self.window - 1, shape
            sizes.append(count * len(query.frames))
            for camera in query.frames if count else ():
                recent = torch.from_numpy(camera[-(count + self.window - 1) :])
                places = range(first, first + count)
                clips += [list(range(place, place + self.window)) for place in places]
                frames.append(recent.permute(0, 3, 1, 2))
                first += len(recent)
        self.encoded += sum(counts)
        if not clips:
            return [torch.empty(0)] * len(queries)
        preprocessed = self.encoder.preprocess(torch.cat(frames))
        latents = self.encoder.encode(preprocessed[torch.tensor(clips)])
        # camera by camera and window by window -> the cameras of each window side by side
        return [
            part.unflatten(0, (-1, count)).transpose(0, 1).flatten(1) if count else part
            for part, count in zip(latents.split(sizes), counts, strict=True)
        ]
