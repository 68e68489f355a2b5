"""A process of its own that loads one back end, answers once, and then many times: start and memory, seen from inside.

Run by `start.FreshProcesses` with a JSON object on the command line; answers with one JSON object a line. It imports no
more than the node's own path does.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from time import perf_counter

from geoflow_ros.memory import resident_bytes


def main() -> None:
    """Reports after the first answer; a line on standard input starts the soak, each part of which is reported."""
    begin = perf_counter()
    go_on = threading.Event()
    threading.Thread(target=_follow_parent, args=(go_on,), daemon=True).start()
    # here, because what is measured is how long this takes
    from geoflow_ros.bench.candidates import Candidate, open_candidate
    from geoflow_ros.bench.pictures import Pictures
    from geoflow_ros.bundle import Bundle
    from geoflow_ros.inference import GeoFlowLocalizer

    imported = perf_counter()
    request = json.loads(sys.argv[1])
    bundle = Bundle.load(request["model"])
    backend = open_candidate(bundle, Candidate.of_label(request["candidate"]), request["threads"])
    localizer = GeoFlowLocalizer(bundle, backend, hypotheses=request["hypotheses"], iterations=request["iterations"])
    loaded = perf_counter()
    pictures = Pictures.load(Path(request["pictures"]))
    patch = pictures.patch(bundle.manifest)
    localizer.localize(pictures.decode(), patch)
    answered = perf_counter()
    _report(
        import_s=imported - begin,
        load_s=loaded - imported,
        first_answer_s=answered - loaded,
        backend=backend.name,
        **_memory_mib(),
    )
    go_on.wait()
    for frame in range(1, request["frames"] + 1):
        if frame % request["frames_on_a_patch"] == 0:
            patch = pictures.patch(bundle.manifest)
        localizer.localize(pictures.decode(), patch, stamp_ns=frame)
        if frame % request["report_every"] == 0:
            _report(frame=frame, **_memory_mib())


def _follow_parent(go_on: threading.Event) -> None:
    """Passes on the parent's line, and ends this process where the parent ends: the pipe is closed then."""
    while os.read(sys.stdin.fileno(), 1):  # unbuffered: a lock held here would abort the interpreter's own end
        go_on.set()
    os._exit(1)


def _memory_mib() -> dict[str, float]:
    """Returns resident memory of this process now and at its highest; empty where the system does not report it."""
    found = resident_bytes()
    return {} if found is None else {"rss_mib": found[0] / 2**20, "peak_rss_mib": found[1] / 2**20}


def _report(**values: object) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
