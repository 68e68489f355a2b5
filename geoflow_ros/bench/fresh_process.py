"""A process of its own that loads one back end, answers once, and then many times: start and memory, seen from inside.

Run by `start.FreshProcesses` with a JSON object on the command line; answers with one JSON object a line. It imports no
more than the node's own path does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter

from geoflow_ros.memory import resident_bytes


def main() -> None:
    """One line after the first answer; the soak begins when a line comes in, and tells of every part of it."""
    begin = perf_counter()
    # here, because what is measured is how long this takes
    from geoflow_ros.bench.candidates import Candidate, open_candidate
    from geoflow_ros.bench.pictures import Pictures, decode
    from geoflow_ros.bundle import Bundle
    from geoflow_ros.inference import GeoFlowLocalizer

    imported = perf_counter()
    order = json.loads(sys.argv[1])
    bundle = Bundle.load(order["model"])
    backend = open_candidate(bundle, Candidate.of_label(order["candidate"]), order["threads"])
    localizer = GeoFlowLocalizer(bundle, backend, hypotheses=order["hypotheses"], iterations=order["iterations"])
    loaded = perf_counter()
    pictures = Pictures.load(Path(order["pictures"]))
    patch = pictures.patch(bundle.manifest)
    localizer.localize(decode(pictures.jpeg), patch)
    answered = perf_counter()
    _tell(
        import_s=imported - begin,
        load_s=loaded - imported,
        first_answer_s=answered - loaded,
        backend=backend.name,
        **_memory_mib(),
    )
    sys.stdin.readline()
    for frame in range(1, order["frames"] + 1):
        if frame % order["frames_on_a_patch"] == 0:
            patch = pictures.patch(bundle.manifest)
        localizer.localize(decode(pictures.jpeg), patch, stamp_ns=frame)
        if frame % order["report_every"] == 0:
            _tell(frame=frame, **_memory_mib())


def _memory_mib() -> dict[str, float]:
    """Resident memory of this process now and at its highest; empty where the system does not tell."""
    found = resident_bytes()
    return {} if found is None else {"rss_mib": found[0] / 2**20, "peak_rss_mib": found[1] / 2**20}


def _tell(**values: object) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
