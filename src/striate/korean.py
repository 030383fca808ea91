"""How a Korean text is found in the catalogue and filled: with the particles that fit, 합성곱을, 필터를, 3으로, 7로.

The catalogue is a GNU gettext one as text (`.po`), read as far as striate writes it: keys, plurals, texts, comments.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

CATALOGUE = Path(__file__).parent / "locale" / "ko.po"

# "[을/를]" in a text: the first after a final consonant, the second, which may be empty, after a vowel.
PAIR = re.compile(r"\[([가-힣]+)/([가-힣]*)\]")
FORMATTER = Formatter()

# The final sound of a numeral as it is read (영 일 이 삼 사 오 육 칠 팔 구), and of a row of zeros after others.
DIGITS = dict(zip("0123456789", ("ㅇ", "ㄹ", "", "ㅁ", "", "", "ㄱ", "ㄹ", "ㄹ", ""), strict=True))
TENS = ("ㅂ", "ㄱ", "ㄴ", "ㄴ", "ㄴ", "ㄴ", "ㄴ", "ㄱ", "ㄱ", "ㄱ", "ㄱ", "")  # 십 백 천 만 … 억 … 조

# Capitals are read one by one: of these the names end in a consonant, 엘 엠 엔 알.
CAPITALS = dict(L="ㄹ", M="ㅁ", N="ㄴ", R="ㄹ")

# Signs that are read as words, and units behind a number.
SIGNS = {"%": "", "×": "", "+": "", "°": "", "²": "ㅂ", "α": "", "λ": "", "β": ""}

# Foreign words, as they are spelled in Korean: a nasal or l sounds as a final, also before a silent e; p, t, k only
# behind one short vowel (넷, 맵, but 셔트, 게이트, 웨이트).
FINAL_WORDS = (
    (re.compile(r"(l|le)$"), "ㄹ"),
    (re.compile(r"(m|me|mb)$"), "ㅁ"),
    (re.compile(r"(n|ng|[aeiou]ne|gn)$"), "ㄴ"),
    (re.compile(r"(^|[^aeiou])[aeiou](p|t|k|ck)$|ook$"), "ㅂ"),
)


@cache
def load_catalogue() -> dict[str, str]:
    """Every Korean text by its key."""
    return read_catalogue(CATALOGUE.read_text(encoding="utf-8"))


def read_catalogue(text: str) -> dict[str, str]:
    """Each text by its key; one that counts by both of its keys, `msgid` and `msgid_plural`.

    >>> read_catalogue('msgid "{n} row"\\nmsgid_plural "{n} rows"\\nmsgstr[0] "{n}"\\n"행"')
    {'{n} row': '{n}행', '{n} rows': '{n}행'}
    """
    return {key: told for keys, told in list_entries(text) for key in keys if key and told}


def list_entries(text: str) -> Iterator[tuple[list[str], str]]:
    """The entries in their order: their keys and their text."""
    parts: list[str] = []
    for line in [*text.splitlines(), 'msgid ""']:
        word, quote, rest = line.partition('"')
        if not quote or line.startswith("#"):
            continue
        said = ast.literal_eval(quote + rest)
        match word.strip():
            case "":
                parts[-1] += said
            case "msgid":
                if parts:
                    yield parts[:-1], parts[-1]
                parts = [said]
            case _:
                parts.append(said)


def fill_korean(text: str, numbers: Sequence[Any], values: Mapping[str, Any]) -> str:
    """`text` with its values, and of each pair of particles the one that fits what stands before it.

    >>> fill_korean("{name}[은/는] {size}×{size}[으로/로] 나옵니다", (), {"name": "conv1", "size": 14})
    'conv1은 14×14로 나옵니다'
    """
    if not numbers and not values:
        return add_literal("", text)
    made = ""
    for literal, field, spec, conversion in FORMATTER.parse(text):
        made = add_literal(made, literal)
        if field is not None:
            value, _ = FORMATTER.get_field(field, numbers, values)
            made += format(FORMATTER.convert_field(value, conversion), spec or "")
    return made


def add_literal(made: str, literal: str) -> str:
    """`made` and then `literal`, its pairs decided by all that stands before them."""
    start = 0
    for pair in PAIR.finditer(literal):
        made += literal[start : pair.start()]
        made += choose_particle(made, *pair.groups())
        start = pair.end()
    return made + literal[start:]


def choose_particle(before: str, closed: str, opened: str) -> str:
    """`closed` where the last sound of `before` is a consonant, else `opened`; 로 goes with ㄹ as with a vowel.

    >>> [choose_particle(word, "으로", "로") for word in ("필터", "합성곱", "커널", "3", "7")]
    ['로', '으로', '로', '으로', '로']
    """
    final = find_final(before)
    return opened if not final or (final == "ㄹ" and closed.startswith("으로")) else closed


def find_final(text: str) -> str:
    """The final consonant of the last word of `text` as it is read, "" behind a vowel.

    Quotes at its end are passed over, and what stands in brackets behind a word, which is not read aloud with it.
    """
    word = text.rstrip("'\"`’”」』 .,;:…")
    if word.endswith((")", "]")):
        opening = word.rfind("(" if word.endswith(")") else "[")
        inside = word[opening + 1 : -1]
        return find_final(word[:opening]) if opening > 0 and word[:opening].strip() else find_final(inside)
    letter = word[-1:]
    if "가" <= letter <= "힣":
        return name_final(letter)
    if letter in DIGITS:
        return find_number_final(word)
    if letter in SIGNS:
        return SIGNS[letter]
    return CAPITALS.get(letter, "") if letter.isupper() else find_word_final(word)


def name_final(syllable: str) -> str:
    """ㄹ, "" for none, and ㅂ for all other finals, between which no particle tells."""
    final = (ord(syllable) - ord("가")) % 28
    return "" if final == 0 else "ㄹ" if final == 8 else "ㅂ"


def find_number_final(word: str) -> str:
    """A number ends in the name of its last digit, or in that of its power of ten: 십, 백, 천, 만, 억, 조."""
    number = re.search(r"[\d.,]*\d$", word)
    digits = number.group().replace(",", "") if number else word[-1]
    zeros = len(digits) - len(digits.rstrip("0"))
    if zeros == 0 or "." in digits or zeros == len(digits):
        return DIGITS[digits[-1]]
    return TENS[min(zeros, len(TENS)) - 1]


def find_word_final(word: str) -> str:
    """The final of a word in Latin letters, by how such words are written in Korean."""
    last = re.search(r"[A-Za-z]*$", word)
    spelled = re.search(r"[A-Z]?[a-z]*$", last.group() if last else "")
    tail = spelled.group().lower() if spelled else ""
    return next((final for pattern, final in FINAL_WORDS if pattern.search(tail)), "")
