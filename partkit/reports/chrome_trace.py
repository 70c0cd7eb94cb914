"""Events as a Chrome trace, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

The form is Google's "Trace Event Format": complete events (``ph: X``) in microseconds, a process for each run and a
thread for each track of a place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from partkit.data.timeline import CAUSE_WORDS, Event, Track

_TRACKS: tuple[Track, ...] = ("compute", "send", "idle")


def chrome_trace(runs: Mapping[str, Sequence[Event]]) -> str:
    """The trace of several runs by name, ``measured`` beside ``simulated`` say: tracks of the same names in each."""
    told: list[dict[str, Any]] = []
    for process, (name, events) in enumerate(runs.items(), start=1):
        told.append({"ph": "M", "name": "process_name", "pid": process, "args": {"name": name}})
        places = sorted({(event.stage, event.replica, _row(event)) for event in events})
        threads = {place: number for number, place in enumerate(places, start=1)}
        for (stage, replica, row), thread in threads.items():
            of_replica = f", replica {replica}" if any(each.replica for each in events if each.stage == stage) else ""
            label = f"stage {stage}{of_replica}: {_TRACKS[row]}"
            told.append({"ph": "M", "name": "thread_name", "pid": process, "tid": thread, "args": {"name": label}})
            told.append(
                {"ph": "M", "name": "thread_sort_index", "pid": process, "tid": thread, "args": {"sort_index": thread}}
            )
        told += [_event(event, process, threads[event.stage, event.replica, _row(event)]) for event in events]
    return json.dumps({"displayTimeUnit": "ms", "traceEvents": told}) + "\n"


def _row(event: Event) -> int:
    """Waiting is shown on the track of what waits: a place computes or waits."""
    return 0 if event.track == "idle" else _TRACKS.index(event.track)


def _event(event: Event, process: int, thread: int) -> dict[str, Any]:
    if event.track == "idle":
        assert event.cause is not None, "waiting has a cause"
        name = CAUSE_WORDS[event.cause]
    else:
        name = f"item {event.item}" if event.to is None else f"item {event.item} to stage {event.to}"
    return {
        "ph": "X",
        "name": name,
        "cat": event.track,
        "pid": process,
        "tid": thread,
        "ts": round(1e6 * event.begin_s, 3),
        "dur": round(1e6 * (event.end_s - event.begin_s), 3),
        "args": {"item": event.item},
    }
