"""Calls in flight by what their kind was measured to take."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

from flows.admission import USABLE, Admission


def begin(admission: Admission, kinds: list[str], expected: list[str]) -> None:
    """Let calls of these kinds ask one after the other; those expected, and no others, are at work then."""

    def enter(kind: str) -> None:
        with suppress(InterruptedError):
            admission.enter(kind)

    threads = [threading.Thread(target=enter, args=(kind,), daemon=True) for kind in kinds]
    for thread in threads:
        thread.start()
        thread.join(0.2)
    settles(admission, expected)


def settles(admission: Admission, expected: list[str]) -> None:
    """At work are, after however long, those expected, and stay so."""
    for _ in range(600):
        if sorted(admission.running) == expected:
            break
        threading.Event().wait(0.05)
    threading.Event().wait(0.2)
    assert sorted(admission.running) == expected


def test_first_of_a_kind_goes_ahead() -> None:
    admission = Admission(4, 8000.0)
    begin(admission, ["a", "a", "b", "b"], ["a", "b"])
    admission.tell("a", 100.0)
    admission.leave("a")
    begin(admission, ["a"], ["a", "a", "b"])
    admission.stop()


def test_memory_holds() -> None:
    """Of 8 GB 6.4 are used: two calls of 3 GB, not three, whatever the number of workers; one that is too big alone."""
    admission = Admission(8, 8000.0)
    admission.tell("big", 3000.0)
    begin(admission, ["big"] * 4, ["big"] * 2)
    admission.leave("big")
    settles(admission, ["big"] * 2)
    admission.stop()
    alone = Admission(8, 8000.0)
    alone.tell("huge", 7000.0)
    begin(alone, ["huge", "huge"], ["huge"])
    alone.stop()
    assert USABLE == 0.8


def test_no_more_than_workers() -> None:
    admission = Admission(2, 8000.0)
    admission.tell("a", 10.0)
    begin(admission, ["a"] * 3, ["a"] * 2)
    admission.stop()


def test_alone() -> None:
    admission = Admission(4, 8000.0)
    admission.tell("a", 10.0)
    admission.enter("a")
    inside, leave = threading.Event(), threading.Event()

    def lonely() -> None:
        with admission.alone():
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=lonely)
    thread.start()
    assert not inside.wait(0.2), "something still runs"
    admission.leave("a")
    assert inside.wait(30)
    begin(admission, ["a"], [])
    leave.set()
    thread.join()
    settles(admission, ["a"])


def test_stopped() -> None:
    admission = Admission(1, 1.0)
    admission.stop()
    with pytest.raises(InterruptedError):
        admission.enter("a")
