"""Published forms of a reply that thinks aloud: what is thought and what is said, whole and cut off."""

from __future__ import annotations

THOUGHT, SAID = "She asks for my job, so I tell her.", "I am a baker."

FORMS = {
    "qwen3": "<think>\n{t}\n</think>\n\n{s}",
    "opened by the template": "{t}\n</think>\n\n{s}",
    "magistral": "[THINK]{t}[/THINK]{s}",
    "thinking": "<thinking>{t}</thinking>\n{s}",
    "exaone deep": "<thought>\n{t}\n</thought>\n\n{s}",
    "gpt-oss": "<|channel|>analysis<|message|>{t}<|end|><|start|>assistant<|channel|>final<|message|>{s}<|return|>",
    "gpt-oss, opened": "analysis<|message|>{t}<|end|><|start|>assistant<|channel|>final<|message|>{s}",
    "gpt-oss, thought opened": "{t}<|end|><|start|>assistant<|channel|>final<|message|>{s}<|return|>",
    "gpt-oss, two thoughts": "<|start|>assistant<|channel|>analysis<|message|>{t}<|end|><|start|>assistant<|channel|>"
    "commentary<|message|>{t}<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>{s}<|return|>",
    "gpt-oss without control tokens": "analysis{t}assistantfinal{s}",
    "seed-oss": "<seed:think>{t}<seed:cot_budget_reflect>none left</seed:cot_budget_reflect>{t}</seed:think>{s}",
    "kimi-vl": "\u25c1think\u25b7{t}\u25c1/think\u25b7{s}",
    "gemma 4": "<|channel>thought\n{t}\n<channel|>{s}",
    "hunyuan": "<think>\n{t}\n</think>\n<answer>\n{s}\n</answer>",
    "ernie, granite": "<think>{t}</think><response>{s}</response>",
    "granite 3.2": "Here is my thought process:\n\n{t}\n\nHere is my response:\n\n{s}",
    "marco-o1": "<Thought>\n{t}\n</Thought>\n<Output>\n{s}\n</Output>",
    "reflection": "<thinking>{t}<reflection>{t}</reflection></thinking><output>{s}</output>",
    "open thoughts": "<|begin_of_thought|>\n{t}\n<|end_of_thought|>\n<|begin_of_solution|>\n{s}\n<|end_of_solution|>",
    "command a": "<|START_THINKING|>{t}<|END_THINKING|><|START_RESPONSE|>{s}<|END_RESPONSE|>",
    "apertus": "<|inner_prefix|>{t}<|inner_suffix|>{s}",
    "apriel": "Here are my reasoning steps:\n{t}\n[BEGIN FINAL RESPONSE]\n{s}\n[END FINAL RESPONSE]",
    "longcat": "<longcat_think>\n{t}\n</longcat_think>\n{s}",
    "solar": "<|think|>{t}<|end|><|begin|>assistant<|content|>{s}",
    "solar 2": "<|think:start|>{t}<|think:end|>{s}",
    "plamo": "<|plamo:begin_think:plamo|>{t}<|plamo:end_think:plamo|>{s}",
    "pangu": "[unused16]{t}[unused17]{s}",
    "glimmer": "to=self<|message|>{t}<|eom|><|start|>assistant to=user<|message|>{s}<|eot|>",
    "reasoning": "<reasoning>\n{t}\n</reasoning>\n<answer>{s}</answer>",
    "attributes": '<think type="deep">{t}</think>{s}',
    "escaped": "&lt;think&gt;{t}&lt;/think&gt;{s}",
    "two openings": "<think>\n<think>\n{t}\n</think>\n{s}",
}
"""A reply of each form: `{t}` is a thought, `{s}` what is said."""


def whole(form: str, said: str = SAID, thought: str = THOUGHT) -> str:
    """A reply with its thought."""
    return FORMS[form].format(t=thought, s=said)
