"""One end for all processes of a training: nobody waits for one that has failed or is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from ..errors import RunError, StriateError
from ..language import say
from .hang import HEARD, LIMIT, RankStanding, find_vain_wait, make_end_error, make_hang_error

# Seconds between two words of a process on where it stands.
BEAT = 0.5
# Seconds that the others leave the first process to say why all end.
SPEAK = 5.0
INTERRUPTED = 130


class Guard:
    """A thread that says twice a second where this process stands, and reads where the others do.

    Where another process fails, is gone, or all wait in vain, the first one says why, and all end with exit code 2,
    whatever they are doing: what waits for another process in a collective cannot be woken otherwise.

    children  the processes that this one started, with their ranks
    parent    the process that started this one, where striate did
    """

    def __init__(self, children: Sequence[tuple[int, subprocess.Popen]] = (), parent: int | None = None) -> None:
        self.children, self.parent = children, parent
        self.rank, self.world, self.local_rank = 0, 1, 0
        self.limit = read_rank_timeout()
        self.standing = ("joining the others", True, time.monotonic())
        self.store: Any = None
        self.adrift = False
        self.heard: dict[int, tuple[str, float]] = {}
        self.over, self.ending = threading.Event(), threading.Lock()
        self.thread = threading.Thread(target=self.watch, name="striate-guard", daemon=True)
        self.thread.start()

    def join(self, rank: int, world: int, local_rank: int) -> None:
        """Say through the store, by which the processes found each other, where this one stands."""
        import torch.distributed as dist

        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        # A connection of its own: one that is shared is held by whatever else waits on it.
        store = dist.TCPStore(host, port, is_master=False, timeout=timedelta(seconds=20), wait_for_workers=False)
        begun = f"striate/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        time_around = dist.PrefixStore(begun, store).add(f"rounds of {rank}", 1)
        self.rank, self.world, self.local_rank = rank, world, local_rank
        joined = dist.PrefixStore(f"{begun}/{time_around}", store)
        self.publish(joined)
        for other in range(world):  # the others' first words
            joined.wait([f"standing/{other}"], timedelta(seconds=self.limit))
        self.store = joined

    def at(self, place: str, waiting: bool = False) -> None:
        """This process has come to `place`, to work there or to wait for the others."""
        self.standing = (place, waiting, time.monotonic())

    def close(self) -> None:
        """All is done; from here on each process may end when it likes."""
        self.over.set()
        self.thread.join()

    @contextmanager
    def one_end(self) -> Iterator[None]:
        """Within it, an error of this process ends all."""
        try:
            yield
        except BaseException as e:
            self.fail(e)
            raise
        finally:
            self.over.set()

    def fail(self, error: BaseException) -> None:
        """Have all end for an error of this process. It comes back only in the first, whose own error it is."""
        if self.store is None or self.over.is_set():
            return
        try:
            if self.rank:  # an error that all agree on is the first one's to tell
                wait_until(lambda: self.store.check(["failure"]), 2 * BEAT)
            with self.ending:  # the thread that ends this process never gives it back
                if is_connection_lost(error):
                    self.blame()
                self.post(self.rank, *describe_reason(error, f"rank {self.rank} of {self.world}"))
                if self.rank == 0 and not is_connection_lost(error):
                    self.over.set()
                    self.answered(SPEAK)
                    return
        except Exception as e:  # what the processes found each other by is gone too
            if not is_connection_lost(e):
                raise
        self.thread.join()
        os._exit(2)

    def blame(self) -> None:
        """Find out who is gone, for another process cannot be reached."""
        began = time.monotonic()
        while time.monotonic() < began + 2 * HEARD and not self.store.check(["failure"]):
            standing = self.read()
            for rank, one in enumerate(standing):
                if one.silent > HEARD:
                    self.post(rank, str(make_end_error(rank, say("is gone"), standing)), 2)
            time.sleep(BEAT)

    def watch(self) -> None:
        """Until all is done: end this process as soon as there is a reason."""
        while not self.over.wait(BEAT):
            reason = self.reason()
            if reason is not None and not self.over.is_set():
                self.end(reason)

    def reason(self) -> dict[str, Any] | None:
        """Why this process has to end, where it has to."""
        if self.parent is not None and os.getppid() != self.parent:
            return self.orphaned()
        try:
            standing = self.read() if self.store is not None else []
            for rank, child in self.children:
                if child.poll() not in (None, 0, 2, INTERRUPTED):
                    return self.post(rank, str(make_end_error(rank, describe_exit(child.returncode), standing)), 2)
            if self.store is None:
                place, _, since = self.standing
                alone = say("this process has waited for {limit:.0f} s for the others to join", limit=self.limit)
                late = time.monotonic() - since > self.limit
                return (
                    self.post(0, str(make_hang_error(alone, [RankStanding(place, True, self.limit)])), 2)
                    if late
                    else None
                )
            self.publish(self.store)
            if self.store.check(["failure"]):
                return json.loads(self.store.get("failure"))
            vain = find_vain_wait(standing, self.limit)
            return self.post(self.rank, str(make_hang_error(vain, standing)), 2) if vain else None
        except Exception as e:
            if not is_connection_lost(e):
                raise
            return self.orphaned()

    def orphaned(self) -> dict[str, Any]:
        """The reason to end where the first process, or what held the store, is gone: nothing can be agreed on."""
        self.adrift = True
        return {"text": str(make_end_error(0, say("is gone"), [])), "code": 2}

    @property
    def eldest(self) -> bool:
        """Whether this process is the one of its machine that speaks where what all found each other by is gone."""
        firsts = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"  # then the first process is gone with it
        return self.local_rank == (1 if firsts and self.rank == self.local_rank else 0)

    def end(self, reason: dict[str, Any]) -> None:
        """End this process; one says why, the first one if it can."""
        self.ending.acquire()
        if self.over.is_set():  # its own error is on the way to its user
            return
        try:
            if self.adrift or self.store is None:
                self.speak(reason["text"], not self.adrift or self.eldest)
            else:
                if self.rank:
                    self.store.add("answers", 1)
                if reason["rank"] == reason["by"] == 0 != self.rank:
                    time.sleep(2)  # it says so itself, and whoever started us may end us all as soon as one has ended
                elif self.rank == 0 or not self.spoken(SPEAK):
                    own = str(self.rank).encode()
                    self.speak(reason["text"], self.store.compare_set("speaker", "", own.decode()) == own)
                    self.store.set("spoken", "yes")
                    # Its end takes the store away, by which the others hear that it has been said.
                    self.answered(SPEAK, gone=reason["rank"] != reason["by"])
        finally:
            os._exit(reason["code"])

    def speak(self, text: str, ours: bool) -> None:
        if ours:
            print(text if text == "interrupted" else f"error: {text}", file=sys.stderr, flush=True)

    def spoken(self, seconds: float) -> bool:
        """Whether another process says within some seconds why all end."""
        return wait_until(lambda: self.store.check(["spoken"]), seconds)

    def answered(self, seconds: float, gone: int = 0) -> bool:
        """Whether all others but those that are gone have read within some seconds why all end."""
        return wait_until(lambda: self.store.add("answers", 0) >= self.world - 1 - gone, seconds)

    def post(self, rank: int, text: str, code: int) -> dict[str, Any]:
        """Give a reason to end; what comes back is the one that was given first."""
        mine = {"rank": rank, "by": self.rank, "text": text, "code": code}
        return json.loads(self.store.compare_set("failure", "", json.dumps(mine))) if self.store is not None else mine

    def publish(self, store: Any) -> None:
        place, waiting, since = self.standing
        now = time.monotonic()
        store.set(f"standing/{self.rank}", json.dumps([place, waiting, now - since, now]))

    def read(self) -> list[RankStanding]:
        """Where all stand."""
        now, found = time.monotonic(), []
        for rank, said in enumerate(self.store.multi_get([f"standing/{k}" for k in range(self.world)])):
            text = bytes(said).decode()
            if self.heard.get(rank, ("", now))[0] != text:
                self.heard[rank] = (text, now)
            place, waiting, still, _ = json.loads(text)
            silent = now - self.heard[rank][1]
            found.append(RankStanding(place, waiting, still + silent, silent))
        return found


def read_rank_timeout() -> float:
    """The seconds that all may stand still. Raises RunError."""
    given = os.environ.get("STRIATE_RANK_TIMEOUT", str(LIMIT))
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise RunError(
            "STRIATE_RANK_TIMEOUT", say("this is not a number of seconds"), got=given, rule="above 0", hint=f"{LIMIT:g}"
        )
    return seconds


def wait_until(holds: Any, seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if holds():
            return True
        time.sleep(BEAT / 5)
    return False


def describe_reason(error: BaseException, who: str) -> tuple[str, int]:
    """What there is to say of an error, and the exit code."""
    if isinstance(error, KeyboardInterrupt) or getattr(error, "code", None) == INTERRUPTED:
        return "interrupted", INTERRUPTED
    said = str(error) if isinstance(error, StriateError) or is_connection_lost(error) else traceback.format_exc()
    return f"{who}: {said}", 2


def describe_exit(code: int) -> str:
    """How a process ended.

    >>> describe_exit(-9), describe_exit(1)
    ('was killed by SIGKILL', 'ended with exit code 1')
    """
    return (
        say("was killed by {name}", name=signal.Signals(-code).name)
        if code < 0
        else say("ended with exit code {code}", code=code)
    )


def is_connection_lost(error: BaseException) -> bool:
    """Whether an error says that another process cannot be reached."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())
