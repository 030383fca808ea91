"""`--help` in the language spoken: the commands' texts and the few words that Typer adds, its refusals among them."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

from .language import find_language, say, to_say
from .terminal import FILLER, is_wide, print_warning

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


# How Typer refuses a command line, and what stands for it; the first that fits.
REFUSALS = (
    (r"Missing argument '(?P<name>.+)'\.", to_say("Missing argument '{name}'.")),
    (r"Missing option '(?P<name>.+)'\.", to_say("Missing option '{name}'.")),
    (r"No such command '(?P<name>.+)'\. Did you mean (?P<names>.+)\?", to_say("No such command '{name}': {names}?")),
    (r"No such command '(?P<name>.+)'\.", to_say("No such command '{name}'.")),
    (r"No such option: (?P<name>\S+) \(Possible options: (?P<names>.+)\)", to_say("No such option: {name} ({names}?)")),
    (r"No such option: (?P<name>\S+)", to_say("No such option: {name}")),
    (r"Option '(?P<name>.+)' requires an argument\.", to_say("Option '{name}' requires an argument.")),
    (r"Option '(?P<name>.+)' does not take a value\.", to_say("Option '{name}' does not take a value.")),
    (r"Got unexpected extra argument\(s\) \((?P<words>.+)\)", to_say("Got unexpected extra arguments: {words}")),
    (r"Invalid value for '(?P<name>.+)': .* a valid integer.*", to_say("'{name}' takes a whole number")),
    (r"Invalid value for '(?P<name>.+)': .* a valid number.*", to_say("'{name}' takes a number")),
    (r"Invalid value for '(?P<name>.+)': .* less than or equal to (?P<most>\S+)", to_say("'{name}' is at most {most}")),
    (r"Invalid value for '(?P<name>.+)': .* than or equal to (?P<least>\S+)", to_say("'{name}' is at least {least}")),
    (r"Invalid value for '(?P<name>.+)': (?P<complaint>.+)", to_say("Invalid value for '{name}': {complaint}")),
)  # fmt: skip


def show_usage_error(error: Any) -> None:
    """Print why Typer does not take a command line: in its own words in English."""
    if find_language() == "en":
        error.show()
        return
    if error.ctx is not None:
        print_warning(translate_frame(error.ctx.get_usage()))
        print_warning(say("help: {command}", command=f"{error.ctx.command_path} {error.ctx.help_option_names[0]}"))
    print_warning(say("error: {error}", error=translate_refusal(error.format_message())))


def translate_refusal(text: str) -> str:
    for pattern, key in REFUSALS:
        if found := re.fullmatch(pattern, text):
            return say(key, **found.groupdict())
    return text
