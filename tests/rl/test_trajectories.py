"""Each token once, and every context found again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_env.rl.trajectories import Packed, Trajectories, TrajectoryRecorder

PAD, CONTEXT = 0, 40


def padded(rows: list[list[int]]) -> Any:
    found = np.full((len(rows), CONTEXT), PAD, np.int32)
    for row, ids in enumerate(rows):
        found[row, : len(ids)] = ids
    return found


def recorded(*steps: list[list[int]], anew: dict[int, list[bool]] | None = None) -> tuple[TrajectoryRecorder, Any]:
    recorder = TrajectoryRecorder(len(steps), len(steps[0]), CONTEXT, PAD)
    for number, rows in enumerate(steps):
        recorder.add(padded(rows), np.array((anew or {}).get(number, [number == 0] * len(rows))))
    return recorder, recorder.finish()


def segments(found: Trajectories) -> list[list[int]]:
    return [found.ids(segment).tolist() for segment in range(len(found.parent))]


def test_a_context_that_is_cut_back_shares_its_prefix_and_a_new_dialogue_that_begins_alike_none() -> None:
    _, found = recorded([[5, 6]], [[5, 6, 7, 3]], [[5, 6, 7, 3, 4]], [[5, 6, 7, 8]])
    assert segments(found) == [[5, 6, 7, 3, 4], [5, 6, 7, 8]]
    assert found.tokens.tolist() == [5, 6, 7, 3, 4, 8]
    assert (found.parent.tolist(), found.shared_prefix.tolist()) == ([-1, 0], [0, 3])
    assert recorded([[5, 6]], [[5, 6, 7]], anew={1: [True]})[1].parent.tolist() == [-1, -1]


def test_golden_row_that_a_dialogue_and_its_probe_share() -> None:
    """The probe [3, 4] was asked after 5 6 7; the dialogue went on with 8."""
    _, found = recorded([[5, 6]], [[5, 6, 7, 3]], [[5, 6, 7, 3, 4]], [[5, 6, 7, 8]])
    packed = found.packed(np.array([1, 0]), most=20, shared=True)
    assert packed.input_ids.tolist() == [[5, 6, 7, 8, 3, 4]]
    assert packed.branches is not None
    places, numbers, forks = packed.branches[:, 0].tolist()
    assert places == [0, 1, 2, 3, 3, 4]
    assert numbers == [0, 0, 0, 0, 1, 1]
    assert forks[4:] == [3, 3]
    assert dict(zip(packed.step.tolist(), packed.position.tolist(), strict=True)) == {0: 1, 1: 4, 2: 5, 3: 3}


def test_a_line_ends_where_a_reply_follows() -> None:
    """Row 0: grows by one, by a reply, starts anew; row 1: is cut back, then grows by one."""
    recorder, _ = recorded(
        [[5], [5, 6, 3]], [[5, 6], [5, 6, 4]], [[5, 6, 7, 8], [5, 6, 4, 4]], [[9], [5, 6, 4, 4, 4]],
        anew={3: [True, False]},
    )  # fmt: skip
    ends = recorder.line_ends(None, np.array([False, False]))
    assert ends.tolist() == [[False, True], [True, False], [True, False], [False, False]]


def test_the_last_line_is_judged_by_what_came_after_the_rollout() -> None:
    recorder = TrajectoryRecorder(1, 4, CONTEXT, PAD)
    recorder.add(padded([[5], [5], [5, 6], [5]]), np.ones(4, bool))
    after = padded([[5, 6], [5, 6, 7], [5, 7], [5, 6]])
    assert recorder.line_ends(after, np.array([False, False, False, True])).tolist() == [[False, True, True, True]]


def play(data: Any, rows: int, steps: int) -> tuple[list[list[list[int]]], list[list[bool]]]:
    """Contexts that grow by one or by several, are cut back to an earlier length, or start anew."""
    token = st.integers(1, 3)
    contexts = [data.draw(st.lists(token, min_size=1, max_size=4)) for _ in range(rows)]
    seen, anew = [[list(row) for row in contexts]], [[True] * rows]
    for _ in range(steps - 1):
        starts = []
        for row in range(rows):
            kind = data.draw(st.sampled_from(["one", "one", "reply", "cut", "anew"]))
            new = data.draw(st.lists(token, min_size=1, max_size=1 if kind == "one" else 4))
            prefix = {"anew": 0, "cut": len(contexts[row]) // 2}.get(kind, len(contexts[row]))
            starts.append(kind == "anew" or prefix + len(new) > CONTEXT)
            contexts[row] = new if starts[-1] else contexts[row][:prefix] + new
        seen.append([list(row) for row in contexts])
        anew.append(starts)
    return seen, anew


def context_at(packed: Packed, row: int, column: int) -> list[int]:
    """What a row's column has read: its own branch so far, and before it the shared beginning."""
    if packed.branches is None:
        return packed.input_ids[row, : column + 1].tolist()
    place, number, fork = packed.branches[:, row]
    own = (number == number[column]) & (place <= place[column])
    first = (number == 0) & (place < fork[column]) & (number[column] > 0)
    return packed.input_ids[row, np.flatnonzero(own | first)].tolist()


@pytest.mark.parametrize("shared", [False, True])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_context_is_found_again(shared: bool, data: Any) -> None:
    rows, steps = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 12))
    seen, anew = play(data, rows, steps)
    recorder = TrajectoryRecorder(steps, rows, CONTEXT, PAD)
    for contexts, starts in zip(seen, anew, strict=True):
        recorder.add(padded(contexts), np.array(starts))
    found = recorder.finish()
    steps_seen = []
    for part in found.batches(4):
        packed = found.packed(part, most=20, shared=shared)
        steps_seen += packed.step.tolist()
        for row, position, step in zip(packed.row, packed.position, packed.step, strict=True):
            assert context_at(packed, row, position) == seen[step // rows][step % rows]
        covered = [row for s in packed.slices for row in range(s.rows.start, s.rows.stop)]
        assert covered == list(range(len(packed.input_ids)))
        assert len(covered) == ((found.parent[part] < 0).sum() if shared else len(part))
        for s in packed.slices:
            inside = slice(s.choices.start, s.choices.stop)
            assert (packed.position[inside] < s.width).all()
            assert ((s.rows.start <= packed.row[inside]) & (packed.row[inside] < s.rows.stop)).all()
            assert (packed.input_ids[s.rows, s.width :] == PAD).all()
            assert s.rows.stop - s.rows.start == 1 or (s.rows.stop - s.rows.start) * s.width <= 20
    assert sorted(steps_seen) == list(range(steps * rows))


def test_contexts_cost_less_than_three_times_their_tokens() -> None:
    """32 dialogues of 128 steps: growing by one, a reply of 8 after every sixth token, anew at 240."""
    rng, rows, context = np.random.default_rng(0), 32, 1024
    recorder = TrajectoryRecorder(128, rows, context, PAD)
    ids, n = np.zeros((rows, context), np.int32), np.zeros(rows, int)
    for _ in range(128):
        anew = np.zeros(rows, bool)
        for row in range(rows):
            anew[row] = n[row] == 0 or n[row] > 240
            if anew[row]:
                ids[row], n[row] = 0, 0
            new = 60 if anew[row] else 9 if rng.random() < 1 / 6 else 1
            ids[row, n[row] : n[row] + new] = rng.integers(1, 500, new)
            n[row] += new
        recorder.add(ids.copy(), anew)
    assert recorder.tokens.nbytes < 2 * 4 * recorder.count
    found = recorder.finish()
    arrays = [part for part in vars(found).values() if isinstance(part, np.ndarray)]
    assert sum(array.nbytes for array in arrays) < 3 * 4 * len(found.tokens)
    assert recorder.tokens.nbytes < 100  # stored once
