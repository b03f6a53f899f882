"""The chat template of a retriever: one Jinja text, read by our processor, stock processors and servers alike."""

import json

from .configuration_nyx import NyxSettings

# Each image or video stands as one placeholder between marks; processors widen it to as many tokens as it has patches.
_PARTS = (
    "{%- if m.content is string %}{{- m.content }}{% else %}{% for c in m.content %}"
    "{%- if c.type in ('image', 'image_url') %}{% set ns.visual = true %}"
    "{{- '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- elif c.type == 'video' %}{% set ns.visual = true %}"
    "{{- '<|vision_start|><|video_pad|><|vision_end|>' }}"
    "{%- elif c.type == 'text' %}{{- c.text }}{% endif %}{% endfor %}{% endif %}"
)
_INSTRUCTION = (
    "{%- for m in messages if m.role == 'system' %}{% if m.content is string %}{{- m.content }}"
    "{%- else %}{% for c in m.content if c.type == 'text' %}{{- c.text }}{% endfor %}{% endif %}{% endfor %}"
)


def chat_template(settings: NyxSettings, eos_token: str) -> str:
    """Writes the template that renders messages as these settings want them.

    A system message is the instruction: it is rendered at the start of the first other turn, as Nyx §3.3 prepends it
    to the query. sentence-transformers gives its prompts as system messages, so both doors agree.

    Args:
        settings: The retriever's settings.
        eos_token: The tokenizer's end token, for `end_token="eos"`.

    Returns:
        A Jinja template.
    """
    represent = ""
    if settings.represent_text or settings.represent_visual:
        visual, text = _literal(settings.represent_visual), _literal(settings.represent_text)
        represent = f"{{%- if ns.visual %}}{{{{- {visual} }}}}{{% else %}}{{{{- {text} }}}}{{% endif %}}"
    end = eos_token if settings.end_token == "eos" else settings.end_token
    opening = closing = tail = ""
    if settings.chat:
        opening = _system_turn(settings)
        closing = _print("<|im_end|>\n")
        tail = _print("<|im_start|>assistant\n") if settings.generation_prompt else ""
    turn = "{{- '<|im_start|>' + m.role + '\\n' }}" if settings.chat else ""
    instruction = _INSTRUCTION if settings.instruction_in == "user" else ""
    return (
        "{%- set ns = namespace(visual=false) %}"
        f"{opening}"
        "{%- for m in messages if m.role != 'system' %}"
        f"{turn}{{%- if loop.first %}}{instruction}{{% endif %}}"
        f"{_PARTS}"
        f"{{%- if loop.last %}}{represent}{{% endif %}}"
        f"{closing}"
        "{%- endfor %}"
        f"{tail}{_print(end) if end else ''}"
    )


def _system_turn(settings: NyxSettings) -> str:
    """The turn before everything: the system prompt, or the instruction in its place."""
    prompt = settings.system_prompt
    if settings.instruction_in == "user":
        return _print(f"<|im_start|>system\n{prompt}<|im_end|>\n") if prompt else ""
    given = "{%- if messages | selectattr('role', 'equalto', 'system') | list %}"
    default = f"{{% else %}}{_print(prompt)}" if prompt else ""
    start, end = _print("<|im_start|>system\n"), _print("<|im_end|>\n")
    if not prompt:
        return f"{given}{start}{_INSTRUCTION}{end}{{% endif %}}"
    return f"{start}{given}{_INSTRUCTION}{default}{{% endif %}}{end}"


def _literal(text: str) -> str:
    """A Jinja string literal; JSON's escapes are Jinja's."""
    return json.dumps(text, ensure_ascii=False)


def _print(text: str) -> str:
    """A statement that prints a text, spaces and newlines kept."""
    return f"{{{{- {_literal(text)} }}}}"
