"""One action is one token."""

from tests.envs.parts import END, FIRST, PAD, PERSONAS, TOKENS, ByteChat, SleepProbe, make, say

CHAT = ByteChat()


def real(observation):
    return observation[observation != PAD].tolist()


def test_the_context_is_the_chat_with_the_learners_own_ids_and_a_question_is_gone_after_the_answer():
    env = make(TOKENS)
    observation, info = env.reset(seed=0, options={"persona": "p1", "probe_fns": (SleepProbe(1),)})
    heard = env.unwrapped.conversation.messages[0].text
    opening = CHAT.opening(PERSONAS[1].prompt, heard)
    assert info == {"persona": PERSONAS[1]}
    assert real(observation) == opening
    broken = FIRST + 0xC3  # the first half of a letter: no encoding of its text gives it back
    assert real(env.step(broken)[0]) == [*opening, broken]
    asked, *_, info = env.step(END)
    assert info["line"] == "\N{REPLACEMENT CHARACTER}"
    assert real(asked) == [*opening, broken, END, *CHAT.incoming("How long do you sleep?")]
    observation, *_, info = say(env, "Four.")
    reply = env.unwrapped.conversation.messages[-1].text
    assert info["answer"] == "Four."
    assert real(observation) == [*opening, broken, END, *CHAT.incoming(reply)]
