"""A process of its own that loads one back end, answers once, and then many times: start and memory, seen from inside.

Run by `start.FreshProcess` with a JSON object on the command line; answers with one JSON object a line. It imports no
more than the node's own path does.
"""

import time

_BEGIN = time.perf_counter()

import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from geoflow_ros.evaluation.bench.candidates import Candidate, open_candidate  # noqa: E402
from geoflow_ros.evaluation.bench.pictures import Pictures, decode  # noqa: E402
from geoflow_ros.inference import Bundle, Localizer  # noqa: E402


def memory_mib() -> dict[str, float]:
    """Resident memory of this process now and at its highest; empty where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    kib = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS:", "VmHWM:"))}
    return {"rss_mib": int(kib["VmRSS"]) / 1024.0, "peak_rss_mib": int(kib["VmHWM"]) / 1024.0}


def main() -> None:
    """One line after the first answer; the soak begins when a line comes in, and tells of every part of it."""
    imported = time.perf_counter()
    order = json.loads(sys.argv[1])
    bundle = Bundle.load(order["model"])
    backend = open_candidate(bundle, Candidate.of_label(order["candidate"]), order["threads"])
    localizer = Localizer(bundle, backend, hypotheses=order["hypotheses"], iterations=order["iterations"])
    loaded = time.perf_counter()
    pictures = Pictures.load(Path(order["pictures"]))
    patch = pictures.patch(bundle.manifest)
    localizer.localize(decode(pictures.jpeg), patch)
    answered = time.perf_counter()
    _tell(
        import_s=imported - _BEGIN,
        load_s=loaded - imported,
        first_answer_s=answered - loaded,
        backend=backend.name,
        **memory_mib(),
    )
    sys.stdin.readline()
    for frame in range(1, order["frames"] + 1):
        if frame % order["frames_on_a_patch"] == 0:
            patch = pictures.patch(bundle.manifest)
        localizer.localize(decode(pictures.jpeg), patch, stamp_ns=frame)
        if frame % order["report_every"] == 0:
            _tell(frame=frame, **memory_mib())


def _tell(**values: object) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
