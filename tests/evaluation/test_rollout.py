"""Dialogues are played in batches, and a probe leaves no trace in them."""

from dataclasses import replace

from persona_env.evaluation.eval_suite import EvalSuite
from persona_env.evaluation.rollout import play
from persona_env.speakers import Speaker, load_speaker

SUITE = EvalSuite(role="patient", split="dev", dialogues=6, lines=4, seed=3)


class Counting(Speaker):
    """The grammar's speaker, and how often it was called."""

    def __init__(self):
        self.speaker, self.calls, self.views = load_speaker("scripted"), 0, []

    def reply(self, views):
        self.calls += 1
        self.views += views
        return self.speaker.reply(views)


def test_all_dialogues_advance_in_one_call_a_turn():
    simulator = Counting()
    samples = play(simulator, SUITE)
    assert simulator.calls == 4 + 2  # four lines, a question after each second
    assert [len(dialogue.conversation.lines) for dialogue in samples] == [4] * 6
    assert [len(dialogue.answers) for dialogue in samples] == [2] * 6
    assert len({dialogue.conversation.persona.id for dialogue in samples}) == 6


def test_questions_leave_the_dialogues_as_they_were():
    often, never = (play(Counting(), replace(SUITE, questions_every=n)) for n in (1, 99))
    assert [a.conversation for a in often] == [b.conversation for b in never]
    assert [len(a.answers) for a in often] == [4] * 6
    assert [len(b.answers) for b in never] == [0] * 6


def test_no_two_lines_share_their_randomness():
    simulator = Counting()
    play(simulator, SUITE)
    seeds = [view.seed for view in simulator.views]
    assert len(set(seeds)) == len(seeds) == 6 * (4 + 2)


def test_the_same_suite_gives_the_same_dialogues_in_smaller_batches():
    together = play(Counting(), SUITE)
    personas = [dialogue.conversation.persona for dialogue in together]
    assert [d.conversation for d in play(Counting(), SUITE, personas[:2])] == [d.conversation for d in together[:2]]


def test_evaluation_asks_in_other_words_than_training():
    for dialogue in play(Counting(), SUITE):
        for answer in dialogue.answers:
            item = next(i for i in dialogue.conversation.persona.questions if i.key == answer.probe.key)
            assert answer.probe.text in item.held_out_wordings
            assert answer.probe.text not in item.wordings


class LongWinded(Speaker):
    """Says and answers a line of 476 letters, with a bound of 40 tokens of its own."""

    max_tokens = 40

    def reply(self, views):
        return ["x" * 476 for _ in views]


def test_a_line_is_as_long_as_the_suite_or_else_the_simulator_allow():
    for bound, letters in ((None, 476), (96, 476), (24, 384)):
        played = play(LongWinded(), replace(SUITE, dialogues=1, lines=2, max_tokens=bound))[0]
        assert [len(line) for line in played.conversation.lines] == [letters] * 2
        assert [len(answer.text) for answer in played.answers] == [letters]


class Leaves(Counting):
    """Ends every other dialogue with its second line."""

    def reply(self, views):
        lines = super().reply(views)
        said = [sum(view.is_own(message) for message in view.messages) for view in views]
        odd = [len(view.system) % 2 for view in views]
        return [f"{line} [END]" if n == 1 and o else line for line, n, o in zip(lines, said, odd, strict=True)]


def test_the_task_agent_says_no_line_that_nobody_answers():
    """Each costs a call, where it is a served model: none opens a dialogue that nobody plays, or follows an end."""
    for simulator in (Counting(), Leaves()):
        agent = Counting()
        played = play(simulator, SUITE, task_agent=agent)
        said = [m for sample in played for m in sample.conversation.messages if m.side == "task"]
        assert len(agent.views) == len(said) == sum(len(sample.conversation.lines) for sample in played)
        assert not [view for view in agent.views if view.messages and view.messages[-1].text == ""]
        lengths = {len(sample.conversation.lines) for sample in played}
        assert lengths == ({4} if type(simulator) is Counting else {2, 4})
