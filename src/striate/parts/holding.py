"""One writer a folder of parts; whoever comes second is told who is first.

A folder of a machine is locked by its system, which takes the lock back from a process that is killed. A storage has no
locks: whoever writes there renews a file every few seconds, and who finds one that nobody renews takes it over. Where
both of two writers think themselves alone all the same, no row comes twice: part k is the same whoever writes it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from ..errors import RunError
from ..file_lock import lock_opened
from ..language import say
from .place import WRITER, PartsFolder

RENEWAL_SECONDS = 10.0
UNRENEWED_SECONDS = 35.0  # three renewals, and some


class Writer(msgspec.Struct, frozen=True, kw_only=True):
    """Who writes into a folder, as `_writer.json` has it.

    host, process  the machine's name and the number of the process there;  since  UTC
    token          of this start alone;  renewals  in a storage, how often it has said that it is still there
    """

    host: str
    process: int
    since: str
    token: str
    renewals: int = 0


def make_writer() -> Writer:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    return Writer(host=socket.gethostname(), process=os.getpid(), since=since, token=uuid.uuid4().hex)


@contextmanager
def hold_folder(place: PartsFolder) -> Iterator[Callable[[], None]]:
    """Within it no other process writes there; what it gives raises RunError once another has taken the folder over.

    Raises RunError where another process holds it.
    """
    if place.storage is None:
        with hold_local_folder(place):
            yield lambda: None
        return
    mine = make_writer()
    take_storage(place, mine)
    ended, lost = threading.Event(), threading.Event()
    renewing = threading.Thread(target=renew_writer, args=(place, mine, ended, lost), daemon=True)
    renewing.start()

    def check_held() -> None:
        if lost.is_set():
            raise explain_held(place, read_writer(place))

    try:
        yield check_held
    finally:
        ended.set()
        renewing.join()
        if not lost.is_set():
            with suppress(RunError):  # what ended it is to be told, not that the storage still does not answer
                place.remove_file(WRITER)


@contextmanager
def hold_local_folder(place: PartsFolder) -> Iterator[None]:
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
        opened = open_locked(place, place.folder / WRITER)
        os.ftruncate(opened, 0)
        os.write(opened, msgspec.json.encode(make_writer()))
    except OSError as e:
        what = say("cannot write into this folder: {why}", why=(e.strerror or str(e)).lower())
        raise RunError(place.address, what, hint=say("choose another folder with --out")) from None
    try:
        yield
    finally:
        (place.folder / WRITER).unlink(missing_ok=True)
        os.close(opened)


def open_locked(place: PartsFolder, path: Path) -> int:
    """The file, opened and locked, where the system can lock. Raises RunError where another process has it; OSError."""
    while True:
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if lock_opened(opened) is False:
            os.close(opened)
            raise explain_held(place, read_writer(place))
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(opened), path.stat()):
                return opened
        os.close(opened)  # whoever had it has taken the file away with it


def take_storage(place: PartsFolder, mine: Writer) -> None:
    """Write `mine` down where nobody stands, or somebody who is gone. Raises RunError where another is there."""
    first = read_writer(place)
    until = time.monotonic() + UNRENEWED_SECONDS
    while first is not None and not has_ended(first):
        if time.monotonic() > until:
            break
        time.sleep(min(1.0, UNRENEWED_SECONDS / 10))
        now = read_writer(place)
        if now is not None and now != first:
            raise explain_held(place, now)
        first = now
    place.keep_file(WRITER, msgspec.json.encode(mine))
    standing = read_writer(place)  # of two who come at once, the later one stands there
    if standing is not None and standing.token != mine.token:
        raise explain_held(place, standing)


def renew_writer(place: PartsFolder, mine: Writer, ended: threading.Event, lost: threading.Event) -> None:
    """Say again and again that `mine` is there, until it has `ended` or another stands in its place: `lost`."""
    while not ended.wait(RENEWAL_SECONDS):
        with suppress(RunError):  # a storage that does not answer now may do so in ten seconds
            standing = read_writer(place)
            if standing is not None and standing.token != mine.token:
                lost.set()
                return
            mine = msgspec.structs.replace(mine, renewals=mine.renewals + 1)
            place.keep_file(WRITER, msgspec.json.encode(mine))


def has_ended(writer: Writer) -> bool:
    """Whether it is a process of this machine that is no more. Of another machine nothing is known."""
    if writer.host != socket.gethostname():
        return False
    try:
        os.kill(writer.process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def read_writer(place: PartsFolder) -> Writer | None:
    """Who stands there; None where nobody does, or what stands there cannot be understood. Raises RunError."""
    try:
        return msgspec.json.decode(place.read_file(WRITER), type=Writer)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def explain_held(place: PartsFolder, writer: Writer | None) -> RunError:
    what = say("another process writes into this folder")
    hint = say("wait until it is done, or stop it; then --resume goes on; or another name with --out")
    if writer is None:
        return RunError(place.address, what, hint=hint)
    told = {"process": writer.process, "host": writer.host, "since": writer.since}
    got = say("process {process} on {host}, since {since} UTC", **told)
    return RunError(place.address, what, got=got, hint=hint)
