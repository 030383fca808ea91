"""The guard of a process among several: what it reads of the others, when it ends all, and who says why."""

import json
import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import torch.distributed as dist

from striate.errors import DataError, RunError
from striate.fitting import guard as guards
from striate.fitting.guard import Guard, describe_exit, describe_reason, read_rank_timeout, wait_until
from striate.fitting.hang import HEARD, LIMIT


class Ended(BaseException):
    """Instead of os._exit."""


@pytest.fixture(autouse=True)
def exits(monkeypatch):
    """The codes with which a process would have ended."""
    codes = []

    def leave(code):
        codes.append(code)
        raise Ended

    monkeypatch.setattr(guards.os, "_exit", leave)
    monkeypatch.setattr(guards, "BEAT", 0.01)
    monkeypatch.setattr(guards, "SPEAK", 0.1)
    return codes


def make_guards(world, limit=60.0):
    """Guards on one store of torch's own, whose threads do not run: each step is a test's."""
    store, made = dist.HashStore(), []
    for rank in range(world):
        one = Guard()
        one.close()
        one.over.clear()
        one.rank, one.world, one.local_rank, one.limit, one.store = rank, world, rank, limit, store
        one.publish(store)
        made.append(one)
    return made


def move_clock(monkeypatch, seconds):
    now = time.monotonic()
    monkeypatch.setattr(guards, "time", SimpleNamespace(monotonic=lambda: now + seconds, sleep=time.sleep))


def test_each_reads_where_the_others_stand_and_for_how_long(monkeypatch):
    first, second = make_guards(2)
    second.at("epoch 3, averaging", waiting=True)
    second.publish(second.store)
    assert first.read()[1][:2] == ("epoch 3, averaging", True)
    assert first.read()[1].silent < 0.5
    move_clock(monkeypatch, 7)
    later = first.read()[1]
    assert later.silent == pytest.approx(7, abs=0.5)
    assert later.still == pytest.approx(7, abs=0.5)
    second.at("epoch 4")
    second.publish(second.store)
    assert first.read()[1][:2] == ("epoch 4", False)
    assert first.read()[1].silent < 0.5


def test_all_well_is_no_reason_to_end():
    for one in make_guards(3):
        assert one.reason() is None


def test_the_first_reason_is_everybodys():
    first, second, third = make_guards(3)
    given = second.post(1, "rank 1 of 3: no", 2)
    assert given == {"rank": 1, "by": 1, "text": "rank 1 of 3: no", "code": 2}
    assert third.post(2, "rank 2 of 3: nor here", 7) == given
    assert first.reason() == third.reason() == given


def test_without_a_store_a_reason_is_ones_own():
    [alone] = make_guards(1)
    alone.store = None
    assert alone.post(0, "why", 3) == {"rank": 0, "by": 0, "text": "why", "code": 3}


@pytest.mark.parametrize("code, ends", [(0, False), (2, False), (130, False), (None, False), (1, True), (-9, True)])
def test_a_child_that_ended_by_itself_is_a_reason(code, ends):
    first, _ = make_guards(2)
    first.children = [(1, SimpleNamespace(poll=lambda: code, returncode=code))]
    reason = first.reason()
    assert (reason is not None) == ends
    if ends:
        assert (reason["rank"], reason["by"], reason["code"]) == (1, 0, 2)
        assert describe_exit(code) in reason["text"]


def test_waiting_in_vain_is_a_reason_after_the_limit_and_not_before(monkeypatch):
    first, second = make_guards(2, limit=20.0)
    for one in (first, second):
        one.at("averaging the gradients", waiting=True)
        one.publish(one.store)
    move_clock(monkeypatch, 10)
    assert first.reason() is None
    move_clock(monkeypatch, 30)
    for one in (first, second):
        one.publish(one.store)
    reason = first.reason()
    assert reason["code"] == 2 and "averaging the gradients" in reason["text"]


def test_a_process_that_nobody_joins_ends_after_the_limit(monkeypatch):
    [alone] = make_guards(1, limit=20.0)
    alone.store, alone.standing = None, ("joining the others", True, time.monotonic())
    move_clock(monkeypatch, 19)
    assert alone.reason() is None
    move_clock(monkeypatch, 21)
    reason = alone.reason()
    assert (reason["rank"], reason["code"]) == (0, 2)
    assert "has waited for 20 s for the others to join" in reason["text"]


def test_a_process_whose_parent_is_gone_is_adrift():
    [alone] = make_guards(1)
    alone.parent = os.getppid()
    assert alone.reason() is None and not alone.adrift
    alone.parent = os.getppid() + 1
    reason = alone.reason()
    assert alone.adrift and reason["code"] == 2 and "rank 0" in reason["text"] and "is gone" in reason["text"]


def test_a_store_that_is_gone_leaves_a_process_adrift_and_another_error_is_not_hidden():
    [alone] = make_guards(1)

    def lost(*_):
        raise dist.DistNetworkError("connection reset")

    alone.store = SimpleNamespace(multi_get=lost)
    assert "is gone" in alone.reason()["text"] and alone.adrift

    def wrong(*_):
        raise KeyError("a fault of ours")

    alone.store = SimpleNamespace(multi_get=wrong)
    with pytest.raises(KeyError):
        alone.reason()


def test_the_firsts_own_error_comes_back_to_it_and_the_others_are_told(exits):
    first, second = make_guards(2)
    second.store.add("answers", 1)
    first.fail(DataError("cat.jpg", "the file is empty"))
    assert first.over.is_set() and exits == []
    reason = second.reason()
    assert reason == {"rank": 0, "by": 0, "text": "rank 0 of 2: cat.jpg: the file is empty", "code": 2}


def test_anothers_error_ends_it_once_it_has_been_told(exits):
    _, second = make_guards(2)
    second.thread = threading.Thread()
    second.thread.start()
    with pytest.raises(Ended):
        second.fail(KeyboardInterrupt())
    assert exits == [2]
    assert json.loads(second.store.get("failure")) == {"rank": 1, "by": 1, "text": "interrupted", "code": 130}


@pytest.mark.parametrize("over, joined", [(True, True), (False, False)])
def test_after_the_end_and_before_the_beginning_an_error_is_ones_own(exits, over, joined):
    first, _ = make_guards(2)
    store = first.store
    first.store = store if joined else None
    if over:
        first.over.set()
    first.fail(DataError("x", "y"))
    assert exits == [] and not store.check(["failure"])


def test_one_end_sees_to_an_error_and_lets_it_pass(exits):
    first, second = make_guards(2)
    second.store.add("answers", 1)
    with pytest.raises(DataError), first.one_end():
        raise DataError("x", "y")
    assert first.over.is_set() and second.reason()["text"] == "rank 0 of 2: x: y"
    with second.one_end():
        pass
    assert second.over.is_set()


def test_who_is_gone_is_blamed_after_being_silent_and_nobody_else(monkeypatch):
    first, second = make_guards(2)
    first.read()
    now, calls = time.monotonic(), []

    def clock():
        calls.append(1)
        return now + len(calls) * HEARD / 4

    monkeypatch.setattr(guards, "time", SimpleNamespace(monotonic=clock, sleep=lambda s: first.publish(first.store)))
    first.blame()
    reason = json.loads(first.store.get("failure"))
    assert (reason["rank"], reason["by"], reason["code"]) == (1, 0, 2) and "rank 1" in reason["text"]


def test_the_first_says_why_all_end_and_once(exits, capsys):
    first, second = make_guards(2)
    reason = second.post(1, "rank 1 of 2: no", 2)
    second.store.add("answers", 1)
    with pytest.raises(Ended):
        first.end(reason)
    assert exits == [2]
    assert capsys.readouterr().err == "error: rank 1 of 2: no\n"
    with pytest.raises(Ended):
        second.end(reason)
    assert capsys.readouterr().err == ""  # it has been said
    assert second.store.add("answers", 0) == 2


def test_another_speaks_where_the_first_does_not(exits, capsys):
    _, second = make_guards(2)
    reason = second.post(1, "rank 1 of 2: no", 2)
    with pytest.raises(Ended):
        second.end(reason)
    assert capsys.readouterr().err == "error: rank 1 of 2: no\n"
    assert second.store.check(["spoken"])


def test_the_firsts_own_error_is_not_said_by_another(exits, capsys, monkeypatch):
    first, second = make_guards(2)
    reason = first.post(0, "rank 0 of 2: no", 2)
    slept = []
    monkeypatch.setattr(guards, "time", SimpleNamespace(monotonic=time.monotonic, sleep=slept.append))
    with pytest.raises(Ended):
        second.end(reason)
    assert (capsys.readouterr().err, slept) == ("", [2])


def test_an_interruption_is_said_without_the_word_error(capsys):
    [alone] = make_guards(1)
    alone.speak("interrupted", True)
    alone.speak("anything", False)
    assert capsys.readouterr().err == "interrupted\n"


def test_nothing_is_said_or_ended_by_the_guard_once_all_is_over(exits, capsys):
    first, _ = make_guards(2)
    first.over.set()
    first.end({"rank": 1, "by": 1, "text": "no", "code": 2})
    assert exits == [] and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "agent, rank, local_rank, speaks",
    [
        ("", 0, 0, False),  # the first is the one that is gone
        ("", 1, 1, True),
        ("", 2, 2, False),
        ("", 2, 0, True),  # the eldest of another machine
        ("", 3, 1, False),
        ("True", 0, 0, True),  # the store was the agent's: all are there
        ("True", 1, 1, False),
    ],
)
def test_one_process_of_a_machine_speaks_where_all_are_adrift(
    monkeypatch, capsys, exits, agent, rank, local_rank, speaks
):
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", agent)
    [one] = make_guards(1)
    one.rank, one.local_rank, one.adrift = rank, local_rank, True
    with pytest.raises(Ended):
        one.end({"rank": 0, "by": 0, "text": "rank 0 is gone", "code": 2})
    assert capsys.readouterr().err == ("error: rank 0 is gone\n" if speaks else "")


@pytest.mark.parametrize("answers, gone, all_have", [(2, 0, True), (1, 0, False), (1, 1, True), (0, 1, False)])
def test_all_have_answered_when_all_that_are_left_have(answers, gone, all_have):
    first, *_ = make_guards(3)
    if answers:
        first.store.add("answers", answers)
    assert first.answered(0.05, gone=gone) == all_have


def test_waiting_ends_with_what_is_waited_for_or_with_the_time():
    asked = []
    began = time.monotonic()
    assert wait_until(lambda: asked.append(1) or len(asked) == 3, 5.0)
    assert len(asked) == 3 and time.monotonic() - began < 2
    assert not wait_until(lambda: False, 0.05)


@pytest.mark.parametrize("text, seconds", [("5", 5.0), ("0.5", 0.5), ("1e3", 1000.0)])
def test_the_patience_is_what_the_environment_says(monkeypatch, text, seconds):
    monkeypatch.setenv("STRIATE_RANK_TIMEOUT", text)
    assert read_rank_timeout() == seconds


@pytest.mark.parametrize("text", ["0", "-1", "nan", "soon", ""])
def test_a_patience_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv("STRIATE_RANK_TIMEOUT", text)
    with pytest.raises(RunError, match="this is not a number of seconds") as refused:
        read_rank_timeout()
    assert (refused.value.got, refused.value.rule, refused.value.hint) == (text, "above 0", f"{LIMIT:g}")


def test_the_usual_patience_is_the_limit(monkeypatch):
    monkeypatch.delenv("STRIATE_RANK_TIMEOUT", raising=False)
    assert read_rank_timeout() == LIMIT


@pytest.mark.parametrize(
    "error, text, code",
    [
        (KeyboardInterrupt(), "interrupted", 130),
        (SystemExit(130), "interrupted", 130),
        (DataError("x", "y"), "rank 1: x: y", 2),
        (dist.DistNetworkError("reset"), "rank 1: reset", 2),
    ],
)
def test_an_error_is_told_in_its_own_words(error, text, code):
    assert describe_reason(error, "rank 1") == (text, code)


def test_a_fault_of_ours_is_told_with_its_place():
    try:
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError as e:
        text, code = describe_reason(e, "rank 1")
    assert code == 2 and "test_guard.py" in text and text.endswith("ZeroDivisionError: by zero\n")


def test_guards_find_each_other_through_the_store_and_a_second_round_is_another(monkeypatch):
    port = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port.port))
    for _ in range(2):
        made = [Guard(), Guard()]
        joining = [threading.Thread(target=one.join, args=(rank, 2, rank)) for rank, one in enumerate(made)]
        for thread in joining:
            thread.start()
        for thread in joining:
            thread.join(20)
        assert [one.rank for one in made] == [0, 1] and all(one.store is not None for one in made)
        made[1].at("here")
        made[1].publish(made[1].store)
        assert made[0].read()[1].place == "here"
        assert not made[0].store.check(["failure"])
        made[1].post(1, "no", 2)  # of this round alone
        for one in made:
            one.over.set()
            one.thread.join()


def test_the_thread_of_a_guard_watches_until_it_is_closed(monkeypatch):
    one, seen = Guard(), threading.Event()
    monkeypatch.setattr(one, "reason", lambda: seen.set())
    assert seen.wait(5)
    one.close()
    assert not one.thread.is_alive()


def test_a_real_child_that_is_killed_is_told_by_its_signal():
    first, _ = make_guards(2)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        first.children = [(1, child)]
        assert first.reason() is None
        child.kill()
        child.wait()
        assert "was killed by SIGKILL" in first.reason()["text"]
