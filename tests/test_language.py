"""What striate says, in English and in Korean: the catalogue against the source, particles, whole commands."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

import striate
from striate import cli
from striate.cli_help import DEFAULT, translate_refusal
from striate.inside.trace import trace_value
from striate.korean import choose_particle, list_entries
from striate.language import VARIABLES, Text, choose_language, join_texts, read_environment, render_text, say
from striate.summaries.compare import compare_nets
from striate.summaries.whatif import suggest_changes
from striate.terminal import format_count, measure_width, wrap_text
from tests import forked

PACKAGE = Path(__file__).parent.parent / "src" / "striate"
PO = PACKAGE / "locale" / "ko.po"
HANGUL = re.compile("[가-힣]")

# Where a key stands among the arguments of a call: its place, or its name.
KEYED = {"say": 0, "to_say": 0, "need_rule": 3, "none_for": "why", "Ability": 1, "make_step": 1}


# The catalogue and the source -----------------------------------------------------------------------------


@cache
def parse_file(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def list_keys() -> dict[str, str]:
    """Every key that the source says, and the file that does."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(parse_file(file)):
            for key in find_keys(node) if isinstance(node, ast.Call) else ():
                found[key] = str(file.relative_to(PACKAGE))
    return found | list_engine_keys()


def list_engine_keys() -> dict[str, str]:
    """Every key that the browser's engine says, and the module that does."""
    found = {}
    for file in sorted((PACKAGE / "browser" / "engine").glob("*.js")):
        for text in re.findall(r'\b(?:say|toSay)\(\s*("(?:[^"\\]|\\.)*")', file.read_text(encoding="utf-8")):
            found[ast.literal_eval(text)] = str(file.relative_to(PACKAGE))
    return found


def list_help_keys() -> dict[str, str]:
    """The texts of `--help`, and the defaults in it that are words."""
    found = {}
    program: Any = typer.main.get_command(cli.app)
    for command in (program, *program.commands.values()):
        for text in (command.help, *(getattr(parameter, "help", None) for parameter in command.params)):
            head, _, usual = (text or "").partition(DEFAULT)
            found[head] = command.name
            if re.search(r"[a-z]{2}", usual) and usual[:-1] not in SETTING_VALUES:
                found[usual[:-1]] = command.name
    return {key: name for key, name in found.items() if key and key != "Show this message and exit."}


# Defaults that are to be typed as they stand.
SETTING_VALUES = {"auto", "pad", "adamw", "triangular", "plain", "composite", "folder", "best"}


def find_keys(call: ast.Call) -> list[str]:
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    if name == "say_count":
        return [text for argument in call.args[:2] for text in read_texts(argument)]
    if name == "format_count":
        nouns = read_texts(call.args[1])
        return ["{n:,} " + noun + end for noun in nouns for end in ("", "es" if noun.endswith("s") else "s")]
    place = KEYED.get(name)
    if isinstance(place, str):
        return [text for keyword in call.keywords if keyword.arg == place for text in read_texts(keyword.value)]
    texts = read_texts(call.args[place]) if place is not None and len(call.args) > place else []
    return [text for text in texts if name != "make_step" or has_words(text)]


def read_texts(node: ast.expr) -> list[str]:
    """The literal texts that an argument may be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    return read_texts(node.body) + read_texts(node.orelse) if isinstance(node, ast.IfExp) else []


def has_words(text: str) -> bool:
    """Whether there is English in it: two words in a row."""
    return re.search(r"[a-z]{2,}[,;:]? [a-z]{2,}|\} [a-z]{3,}|[a-z]{3,} \{", text) is not None


def read_fields(text: str) -> set[tuple[str, str]]:
    """The values in a text, each with the way it is written."""
    return {(name, spec or "") for _, name, spec, _ in Formatter().parse(text) if name is not None}


ENTRIES = list(list_entries(PO.read_text(encoding="utf-8")))
KOREAN = {key: text for keys, text in ENTRIES for key in keys if key}


def test_the_korean_catalogue_has_each_text_that_is_said_and_no_other():
    said = list_keys() | list_help_keys()
    assert {key: file for key, file in said.items() if not KOREAN.get(key)} == {}
    assert set(KOREAN) - set(said) == set()
    assert len(KOREAN) == sum(len(keys) for keys, _ in ENTRIES) - 1, "a key stands twice"


def test_both_languages_of_a_text_have_the_same_values():
    for key, text in KOREAN.items():
        if "{" in key:
            assert read_fields(key) == read_fields(text), key


def test_a_korean_text_is_korean_or_the_same_signs():
    foreign = {key: text for key, text in KOREAN.items() if not HANGUL.search(text) and has_words(text)}
    assert foreign == {}
    assert not [text for text in KOREAN.values() if re.search(r"[을를이가은는와과로]\([을를이가은는와과으]+\)", text)]


# Every text of these goes through the catalogue: all but what torch itself would raise there, in its own words.
IN_TORCHS_WORDS = ("module_checks", "module_operations")
CONVERTED = [file for file in sorted(PACKAGE.rglob("*.py")) if file.stem not in IN_TORCHS_WORDS]
KINDS = ("Striate", "Net", "Shape", "Trace", "Data", "Recipe", "Model", "Run", "Module", "Divergence", "Unreachable")
ERRORS = {f"{kind}Error" for kind in KINDS} | {"NoFileColumn", "NoLabelColumn", "Refused", "Unconvertible"}
ERROR_PARTS = ("what", "rule", "hint")


@pytest.mark.parametrize("file", CONVERTED, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_an_error_of_a_converted_room_says_its_texts(file):
    """No English that does not go through `say`: in what is raised, nor in the names that are raised afterwards."""
    for node in ast.walk(parse_file(file)):
        for part in list_error_parts(node):
            bare = [
                text
                for text in list_bare_texts(part)
                if has_words(text) and not text.startswith(("--", "lambda ", "openssl ", "pip ", "striate "))
            ]
            assert not bare, f"{file}:{part.lineno}: {bare}"


def list_error_parts(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", "")
        if name in ERRORS:
            return [*node.args[1:], *(keyword.value for keyword in node.keywords if keyword.arg in ERROR_PARTS)]
    if isinstance(node, ast.Assign) and any(getattr(target, "id", "") in ERROR_PARTS for target in node.targets):
        return [node.value]
    return []


def list_bare_texts(node: ast.AST) -> list[str]:
    """The literals in an expression, but for those within a call."""
    if isinstance(node, ast.Call):
        return []
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    return [text for child in ast.iter_child_nodes(node) for text in list_bare_texts(child)]


# Particles ------------------------------------------------------------------------------------------------

PARTICLES = [
    *(("필터", "를"), ("합성곱", "을"), ("커널", "을"), ("t-shirt", "를"), ("sandal", "을"), ("coat", "를")),
    *(("cat", "을"), ("dog", "를"), ("map", "을"), ("book", "을"), ("desk", "를"), ("net", "을"), ("weight", "를")),
    *(("file", "을"), ("line", "을"), ("name", "을"), ("table", "을"), ("image", "를"), ("class", "를")),
    *(("training", "을"), ("mobilenet", "을"), ("digits", "를"), ("mnist", "를"), ("ReLU", "를"), ("GPU", "를")),
    *(("HTML", "을"), ("JSON", "을"), ("SGD", "를"), ("LeNet", "을"), ("Conv", "를"), ("MaxPool", "을")),
    *(
        ("3", "을"),
        ("2", "를"),
        ("10", "을"),
        ("100", "을"),
        ("1,000", "을"),
        ("0", "을"),
        ("1.5", "를"),
        ("2.10", "을"),
    ),
    *(("resnet18", "을"), ("cifar10", "을"), ("vgg16", "을"), ("resnet152", "를"), ("5×5", "를"), ("98.3 %", "를")),
    *(
        ("'conv1'", "을"),
        ("“bias”", "를"),
        ("합성곱(conv1)", "을"),
        ("필터(6)", "를"),
        ("Conv(6, 5)", "를"),
        ("", "를"),
    ),
]


@pytest.mark.parametrize(("word", "particle"), PARTICLES)
def test_the_particle_is_that_of_the_last_sound(word, particle):
    assert choose_particle(word, "을", "를") == particle


@pytest.mark.parametrize(
    ("word", "particle"),
    [
        ("커널", "로"),
        ("필터", "로"),
        ("합성곱", "으로"),
        ("1", "로"),
        ("7", "로"),
        ("8", "로"),
        ("3", "으로"),
        ("URL", "로"),
    ],
)
def test_a_final_l_takes_ro(word, particle):
    assert choose_particle(word, "으로", "로") == particle


def spell_number(n: int) -> str:
    """As it is read: 십이만 삼천. The judge of numbers, by their whole names."""
    names, places, made = "영일이삼사오육칠팔구", ("", "십", "백", "천"), ""
    for group, end in enumerate(("", "만", "억")):
        four = n // 10 ** (4 * group) % 10_000
        read = "".join(
            names[four // 10**place % 10] + places[place] for place in (3, 2, 1, 0) if four // 10**place % 10
        )
        made = (read + end if four else "") + made
    return made or "영"


@given(st.integers(0, 999_999_999), st.booleans())
def test_a_number_takes_the_particle_of_its_name(n, grouped):
    text = f"{n:,}" if grouped else str(n)
    for pair in (("을", "를"), ("이", "가"), ("으로", "로"), ("과", "와")):
        assert choose_particle(text, *pair) == choose_particle(spell_number(n), *pair)


@given(st.text(alphabet=st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), min_size=1))
def test_a_syllable_has_a_final_where_unicode_takes_one_apart(word):
    from unicodedata import normalize

    jamo = normalize("NFD", word[-1])
    assert choose_particle(word, "을", "를") == ("을" if len(jamo) == 3 else "를")
    assert choose_particle(word, "으로", "로") == ("으로" if len(jamo) == 3 and jamo[2] != "ᆯ" else "로")


@given(st.text())
def test_any_name_takes_one_of_the_two(word):
    assert choose_particle(word, "은", "는") in ("은", "는")


# Texts ----------------------------------------------------------------------------------------------------


def fail() -> striate.StriateError:
    try:
        striate.Net((1, 28, 28), [striate.Conv(6, 5), striate.Conv(6, 50)])
    except striate.StriateError as e:
        return e
    raise AssertionError("it fits")


ENGLISH_ERROR = """conv2 (Conv(6, 50)): a 50×50 window does not fit a 24×24 map
  got   6×24×24
  rule  (24 + 2·0 − 50)/1 + 1 = -25, must be 1 or more
  hint  kernel=24 fits; or an input of at least 1×54×54"""
KOREAN_ERROR = """conv2 (Conv(6, 50)): 24×24 특징 맵에 50×50 창이 들어가지 않습니다
  입력  6×24×24
  규칙  (24 + 2·0 − 50)/1 + 1 = -25, 1 이상이어야 합니다
  해결  kernel=24면 맞습니다. 또는 입력을 1×54×54 이상으로 하세요"""


@pytest.mark.parametrize("raised_in", ["en", "ko"])
def test_one_error_is_told_in_either_language_wherever_it_was_raised(raised_in):
    with striate.use_language(raised_in):
        error = fail()
    for copy in (error, deepcopy(error)):
        with striate.use_language("en"):
            assert str(copy) == ENGLISH_ERROR
        with striate.use_language("ko"):
            assert str(copy) == KOREAN_ERROR
            assert set(copy.as_dict()) == {"where", "what", "got", "rule", "hint"}


def test_a_language_is_that_of_the_block_and_set_language_that_of_threads_too(monkeypatch):
    monkeypatch.setattr("striate.language.chosen", [])
    with ThreadPoolExecutor(1) as pool:
        with striate.use_language("ko"):
            assert say("padding") == "패딩"
            assert pool.submit(say, "padding").result() == "padding"
        assert say("padding") == "padding"
        striate.set_language("ko")
        assert say("padding") == pool.submit(say, "padding").result() == "패딩"
    with pytest.raises(ValueError, match="speaks en and ko"):
        striate.set_language("fr")


@given(st.integers(0, 10**6), st.text(alphabet="ab{}[]을/를"))
def test_a_value_is_never_read_as_a_text(n, word):
    with striate.use_language("ko"):
        assert say("did you mean '{name}'?", name=word) == f"혹시 '{word}'인가요?"
        assert join_texts("; ", [word, say("image {n}", n=n)]) == f"{word}; 이미지 {n}"
    assert render_text(word, "ko") is word


def test_a_count_has_its_own_word():
    with striate.use_language("ko"):
        assert [format_count(n, "image") for n in (1, 1200)] == ["이미지 1장", "이미지 1,200장"]


def test_a_request_is_answered_in_the_first_language_that_striate_speaks():
    assert [choose_language(told) for told in ("ko", "ko-KR,en;q=0.8", "en-GB,ko", "fr, ko;q=0.5")] == [
        "ko",
        "ko",
        "en",
        "ko",
    ]


@given(st.lists(st.sampled_from(["합성곱", "conv1", "수용 영역", "×"]), max_size=30), st.integers(10, 40))
def test_wrapped_korean_fits_its_columns_and_loses_nothing(words, width):
    lines = wrap_text(" ".join(words), width)
    assert all(measure_width(line) <= width for line in lines)
    assert " ".join(lines).split() == " ".join(words).split()


# Data stay English ----------------------------------------------------------------------------------------


def list_data() -> list[object]:
    net = striate.nets.lenet5()
    tensors = {name: np.full(spec.shape, 0.01, np.float32) for name, spec in net.tensors.items()}
    trace = trace_value(net, tensors, np.ones((1, 32, 32), np.float32), "conv2", 0, 1, 2, depth=3, engine="plain")
    changes = [change.as_dict() for change in suggest_changes(net)]
    own = striate.nets.googlenet()
    return [striate.summary(own).as_dict(), compare_nets(net, own).as_dict(), changes, trace.as_dict()]


def test_data_are_the_same_whatever_language_is_spoken():
    with striate.use_language("en"):
        english = list_data()
    with striate.use_language("ko"):
        korean = list_data()
    assert korean == english
    assert not list_said(korean)


def test_a_text_has_the_same_numbers_in_both_languages():
    """Nothing is chosen, left out or added up by what a thing is called."""
    net = striate.Net((1, 8, 8), [striate.Conv(4, 3), striate.BatchNorm(), striate.MaxPool(2), striate.Flatten()])
    net = striate.Net(net.input, [*net.layers, striate.Dense(3)])
    random = np.random.default_rng(0)
    tensors = {name: random.random(spec.shape, np.float32) for name, spec in net.tensors.items()}
    image = random.random(net.input, np.float32)
    told: dict[str, list[str]] = {}
    for language in ("en", "ko"):
        with striate.use_language(language):
            stepped = striate.step([[1, 2, 3], [4, 5, 6], [7, 8, 9]], kernel=[[0, 1], [1, 0]], bias=1)
            traced = trace_value(net, tensors, image, "probability", 1, depth=None, engine="plain")
            told[language] = [str(stepped), str(stepped.backward()), str(traced), str(striate.summary(net))]
    for english, korean in zip(told["en"], told["ko"], strict=True):
        assert HANGUL.search(korean) and not HANGUL.search(english)
        assert sorted(re.findall(r"\d[\d.,]*\d|\d", korean)) == sorted(re.findall(r"\d[\d.,]*\d|\d", english))


def list_said(data: object) -> list[Text]:
    """The texts in plain data that would change with the language."""
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, list | tuple):
        return [text for item in data for text in list_said(item)]
    return [data] if isinstance(data, Text) else []


# Commands -------------------------------------------------------------------------------------------------


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "100", "PYTHONUTF8": "1"} | variables
    command = [sys.executable, "-m", "striate", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, encoding="utf-8")


# What stays as it is in Korean: names, code, units, the field's own signs.
KEPT = {"kernel", "striate", "summary", "groups", "mod", "eps", "byte", "nat", "adam"}


def find_english(text: str) -> list[str]:
    """English in a Korean output: two words of small letters in a row."""
    return [found for found in re.findall(r"[a-z]{2,} [a-z]{2,}", text) if not set(found.split()) & KEPT]


def test_a_summary_in_korean_has_no_english_and_keeps_its_columns():
    done = run("summary", "resnet20", STRIATE_LANG="ko")
    assert done.returncode == 0 and not find_english(done.stdout)
    heads, *rows = done.stdout.split("\n")[2:]
    assert heads.split()[:3] == ["층", "종류", "출력"] and measure_width(heads) == max(map(measure_width, rows[:20]))
    assert "역전파를 위해" in done.stdout


@pytest.mark.parametrize(
    ("variables", "language"),
    [
        ({}, "en"),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
        ({"LANG": "ko_KR.UTF-8", "LC_MESSAGES": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_GB.UTF-8", "LC_ALL": "ko_KR"}, "ko"),
        ({"LC_ALL": "C", "STRIATE_LANG": "ko"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "STRIATE_LANG": "en"}, "en"),
        ({"LANG": "kok_IN", "LC_ALL": ""}, "en"),
    ],
)
def test_the_language_is_that_of_the_variable_or_the_locale(monkeypatch, variables, language):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert read_environment.__wrapped__() == language


def test_the_option_comes_first_and_a_terminal_without_hangul_is_told_in_english():
    wrong = ("summary", "Net(input=(1, 8, 8), layers=[Conv(6, 9)])")
    assert run("--lang", "ko", *wrong, STRIATE_LANG="en").stderr.startswith("오류: conv1 (Conv(6, 9)): 8×8 특징 맵에")
    bare = run(*wrong, STRIATE_LANG="ko", PYTHONIOENCODING="ascii").stderr
    assert bare.startswith("error: conv1 (Conv(6, 9)): a 9x9 window does not fit")


def test_help_in_korean_has_no_english_sentence_and_fits_its_width():
    done = run("train", "--help", STRIATE_LANG="ko", COLUMNS="80")
    lines = done.stdout.splitlines()
    assert not find_english(done.stdout.replace("[OPTIONS]", "")) and max(map(measure_width, lines)) <= 80
    assert lines[0].startswith("사용법:") and "[기본값: 64]" in done.stdout and "[필수]" in done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("train", "인자 'data'가 없습니다."),
        ("trian", "'trian'이라는 명령은 없습니다. 혹시 'train', 'trace'?"),
        ("nothing", "'nothing'이라는 명령은 없습니다."),
        ("train digits more", "남는 인자가 있습니다: more"),
        ("train digits --epoch 3", "그런 옵션은 없습니다: --epoch(혹시 --depth, --epochs, --teacher?)"),
        ("train digits --epochs", "옵션 '--epochs' 뒤에 값이 있어야 합니다."),
        ("train digits --resume=3", "옵션 '--resume'은 값을 받지 않습니다."),
        ("train digits --epochs x", "'--epochs'에는 정수를 씁니다"),
        ("train digits --lr x", "'--lr'에는 수를 씁니다"),
        ("serve x --port 65536", "'--port'는 65535 이하입니다"),
    ],
)
def test_what_typer_refuses_is_refused_in_korean(words, told):
    with pytest.raises(Exception) as caught:  # noqa: PT011  of Typer's own click
        cli.app(words.split(), standalone_mode=False)
    with striate.use_language("ko"):
        assert translate_refusal(caught.value.format_message()) == told


# Command lines that cannot be carried out, each for another room's reason; {folder} is one with an empty folder in it.
REFUSED = [
    *(
        "check {folder}",
        "check {folder}/nothing",
        "check {folder}/t.csv",
        "train {folder}/t.csv --images {folder}/none",
    ),
    *(
        "check {folder} --depth 0",
        "train digits --epochs 0",
        "train digits --net lenet5 --freeze foo --out {folder}/run",
    ),
    *(
        "train digits --net lenet5 --weights {folder}/w.pth",
        "train digits --resume --out {folder}",
        "train mnist --folds 1",
    ),
    *(
        "sweep digits",
        "find-lr digits --steps 3 --net lenet5",
        "evaluate lenet5 digits",
        "predict {folder}/m.onnx a.png",
    ),
    *(
        "export {folder} -o {folder}/m.onnx",
        "prove {folder}/m.onnx digits",
        "push {folder} name",
        "serve {folder}/m.onnx",
    ),
    *("step [[1,2],[3]]", "summary lenet55", "summary lenet5 --show nothing", "compare lenet5 lenet55", "help nothing"),
    *(
        "calibrate {folder} digits",
        "trace {folder} a.png --at conv1[0,0,0]",
        "predict a.png b.png --json --csv",
        "profile lenet5 --runs 0",
    ),
]


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_done_is_told_in_korean_without_english(words, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "t.csv").write_text("file,label\nx.jpg,cat\n")
    with striate.use_language("ko"), pytest.raises(Exception) as caught:  # noqa: PT011  or Typer's own
        cli.app([word.format(folder=tmp_path) for word in words.split()], standalone_mode=False)
    with striate.use_language("ko"):
        refusal = getattr(caught.value, "format_message", None)
        told = translate_refusal(refusal()) if refusal else str(caught.value)
    assert HANGUL.search(told) and not find_english(told.replace(str(tmp_path), "")), told


def test_nothing_is_said_before_a_language_is_chosen():
    """A text that a module says as it is loaded stays in the language of that moment."""
    said = []
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in list_loaded(parse_file(file)):
            name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            said += [f"{file}:{node.lineno}"] if name in ("say", "say_count", "format_count", "join_texts") else []
    assert said == []


def list_loaded(node: ast.AST) -> list[ast.AST]:
    """What is computed as a module is loaded: all in it but the bodies of its functions."""
    inside = node.args if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) else node
    return [inside, *(each for child in ast.iter_child_nodes(inside) for each in list_loaded(child))]


def test_json_is_english_beside_korean_errors():
    told = [run("summary", "lenet5", "--format", "json", STRIATE_LANG=language).stdout for language in ("en", "ko")]
    assert told[0] == told[1]


def test_a_training_in_korean_has_no_english_from_its_plan_to_its_end(tmp_path):
    words = ["-m", "striate", "train", "digits", "--net", "lenet5", "--epochs", "1", "--out", str(tmp_path / "run")]
    done = forked.run(words, env=os.environ | {"COLUMNS": "100", "STRIATE_LANG": "ko"})
    assert done.returncode == 0
    assert not find_english(done.stderr + done.stdout), find_english(done.stderr + done.stdout)
    assert "시험 정확도" in done.stdout and "에포크 1/1  손실" in done.stderr and "에 저장합니다" in done.stderr


def test_the_catalogue_is_read_for_korean_alone():
    code = "import sys, striate; print(striate.summary(striate.nets.lenet5())); print('striate.korean' in sys.modules)"
    for language, loaded in (("en", "False"), ("ko", "True")):
        environment = os.environ | {"STRIATE_LANG": language, "PYTHONUTF8": "1"}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, encoding="utf-8"
        )
        assert done.stdout.splitlines()[-1] == loaded
