"""The chat template of a retriever: one Jinja text, read by our processor, stock processors and servers alike."""

import json

from .configuration_nyx import NyxSettings

# What the template has seen so far: an image or video, a text, and whether the instruction is printed.
_SEEN = "{%- set ns = namespace(visual=false, text=false, given=false) %}"
_VISION_MARKS = "<|vision_start|>{}<|vision_end|>"
_ASKED = "messages | selectattr('role', 'equalto', 'system') | list"
_INSTRUCTION = (
    "{%- for m in messages if m.role == 'system' %}{%- set ns.text = true %}{% if m.content is string %}"
    "{{- m.content }}{%- else %}{% for c in m.content if c.type == 'text' %}{{- c.text }}{% endfor %}{% endif %}"
    "{% endfor %}"
)


def chat_template(settings: NyxSettings, eos_token: str) -> str:
    """Writes the template that renders messages as these settings want them.

    A system message is the instruction: it is rendered where `instruction_in` says, by default at the start of the
    first other turn, as Nyx §3.3 prepends it to the query. sentence-transformers gives its prompts as system messages,
    so both doors agree.

    Args:
        settings: The retriever's settings.
        eos_token: The tokenizer's end token, for `end_token="eos"`.

    Returns:
        A Jinja template.
    """
    end = eos_token if settings.end_token == "eos" else settings.end_token
    opening = turn = closing = tail = ""
    if settings.chat:
        opening = _system_turn(settings)
        turn = "{{- '<|im_start|>' + m.role + '\\n' }}"
        closing = _print("<|im_end|>\n")
        if settings.assistant_prompt:
            tail += _print(f"<|im_start|>assistant\n{settings.assistant_prompt}<|im_end|>\n")
        if settings.generation_prompt:
            tail += _print("<|im_start|>assistant\n")
    return (
        f"{_SEEN}{opening}"
        "{%- for m in messages if m.role != 'system' %}"
        f"{turn}{_parts(settings)}"
        f"{{%- if loop.last %}}{_represent(settings)}{{% endif %}}"
        f"{closing}"
        "{%- endfor %}"
        f"{tail}{_print(end) if end else ''}"
    )


def _parts(settings: NyxSettings) -> str:
    """The parts of a turn, in the first one the instruction.

    Each image or video is one placeholder; processors widen it to as many tokens as it has patches.
    """
    before_text = at_start = at_end = ""
    instruction = _instruction(settings)
    if settings.instruction_in == "user":
        at_start = f"{{%- if loop.first %}}{instruction}{{% endif %}}"
    elif settings.instruction_in == "text":
        given = "{%- if not ns.given %}{% set ns.given = true %}"
        separator = settings.instruction_separator
        separated = f"{{%- if {_ASKED} %}}{_print(separator)}{{% endif %}}" if separator else ""
        before_text = f"{given}{instruction}{separated}{{%- endif %}}"
        at_end = f"{given}{instruction}{{%- endif %}}"
    written = settings.visual_format or _VISION_MARKS
    image, video = (_print(written.replace("{}", f"<|{kind}_pad|>")) for kind in ("image", "video"))
    return (
        f"{at_start}{{%- if m.content is string %}}{{% set ns.text = true %}}{before_text}{{{{- m.content }}}}"
        "{% else %}{% for c in m.content %}"
        f"{{%- if c.type in ('image', 'image_url') %}}{{% set ns.visual = true %}}{image}"
        f"{{%- elif c.type == 'video' %}}{{% set ns.visual = true %}}{video}"
        f"{{%- elif c.type == 'text' %}}{{% set ns.text = true %}}{before_text}{{{{- c.text }}}}"
        f"{{% endif %}}{{% endfor %}}{{% endif %}}{at_end}"
    )


def _instruction(settings: NyxSettings) -> str:
    """The instruction, between its marks where there are some."""
    if not settings.instruction_marks:
        return _INSTRUCTION
    opening, closing = map(_print, settings.instruction_marks)
    return f"{{%- if {_ASKED} %}}{opening}{_INSTRUCTION}{closing}{{%- endif %}}"


def _represent(settings: NyxSettings) -> str:
    """What is asked of the model after a content, by what is in it."""
    text, visual, mixed = settings.represent_text, settings.represent_visual, settings.represent_mixed
    if not (text or visual or mixed):
        return ""
    both = f"{{%- if ns.visual and ns.text %}}{_print(mixed)}{{%- elif" if mixed else "{%- if"
    return f"{both} ns.visual %}}{_print(visual)}{{%- else %}}{_print(text)}{{%- endif %}}"


def _system_turn(settings: NyxSettings) -> str:
    """The turn before everything: the system prompt, or the instruction in its place."""
    prompt = settings.system_prompt
    if settings.instruction_in != "system":
        return _print(f"<|im_start|>system\n{prompt}<|im_end|>\n") if prompt else ""
    given, instruction = f"{{%- if {_ASKED} %}}", _instruction(settings)
    default = f"{{% else %}}{_print(prompt)}" if prompt else ""
    start, end = _print("<|im_start|>system\n"), _print("<|im_end|>\n")
    if not prompt:
        return f"{given}{start}{instruction}{end}{{% endif %}}"
    return f"{start}{given}{instruction}{default}{{% endif %}}{end}"


def _literal(text: str) -> str:
    """A Jinja string literal; JSON's escapes are Jinja's."""
    return json.dumps(text, ensure_ascii=False)


def _print(text: str) -> str:
    """A statement that prints a text, spaces and newlines kept."""
    return f"{{{{- {_literal(text)} }}}}"
