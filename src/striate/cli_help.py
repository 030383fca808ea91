"""`--help` in the language spoken: the commands' texts and the few words that Typer adds."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from .language import find_language, say, to_say
from .terminal import FILLER, is_wide

DEFAULT = "  [default: "

# What Typer writes around the texts, and what stands for it.
FRAME = {
    "Usage:": to_say("Usage:"),
    "Arguments:": to_say("Arguments:"),
    "Options:": to_say("Options:"),
    "Commands:": to_say("Commands:"),
    "Show this message and exit.": to_say("Show this message and exit."),
    "[required]": to_say("[required]"),
    "[default: ": to_say("[default: "),
}


class SpokenCommand(TyperCommand):
    """A command whose help is said in the language of the moment."""

    def get_help(self, ctx: Any) -> str:
        translate_help(self)
        return translate_frame(super().get_help(ctx))


class SpokenGroup(TyperGroup):
    """The program, likewise, with the first sentences of its commands."""

    def get_help(self, ctx: Any) -> str:
        for command in (self, *self.commands.values()):
            translate_help(command)
        return translate_frame(super().get_help(ctx))


def translate_help(command: Any) -> None:
    """Put the texts of a command and of its options into the language spoken."""
    if find_language() == "en":
        return
    command.help = pad_wide(say(command.help or ""))
    for parameter in command.params:
        if text := getattr(parameter, "help", None):
            parameter.help = pad_wide(say_help(text))


def say_help(text: str) -> str:
    """An option's help, and its default where it names one."""
    head, found, usual = text.partition(DEFAULT)
    return say(head) + (f"  {say('[default: ')}{say(usual.removesuffix(']'))}]" if found else "")


def pad_wide(text: str) -> str:
    """`text` with as many letters as it takes columns, so that Typer breaks its lines where they end."""
    return "".join(letter + FILLER * is_wide(letter) for letter in text)


def translate_frame(text: str) -> str:
    """The whole help: its frame in the language spoken, what `pad_wide` put in taken out."""
    if find_language() != "en":
        for word, key in FRAME.items():
            text = text.replace(word, say(key))
    return text.replace(FILLER, "")
