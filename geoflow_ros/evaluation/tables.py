"""Figures as text: the tables that the commands print."""

from collections.abc import Mapping, Sequence
from typing import Any


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned for a terminal: the first to the left, all others to the right."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    aligned = [
        [row[0].ljust(widths[0]), *[cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]]
        for row in cells
    ]
    lines = ["  ".join(row).rstrip() for row in aligned]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def metres(value: float | None) -> str:
    """A length with two decimals, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def degrees(value: float | None) -> str:
    """An angle with two decimals, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def share(value: float | None) -> str:
    """A share of 1 as percent, or a dash."""
    return "-" if value is None else f"{100 * value:.1f}"


def accuracy_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a method: errors in metres, recalls in percent. Each value holds the fixed figure keys."""
    header = ["", "mean m", "median m", "lateral m", "longitud. m", "@1m %", "@5m %", "lat @1m %", "lon @1m %"]
    return table(
        header,
        [
            [
                name,
                metres(f["mean_error_m"]),
                metres(f["median_error_m"]),
                metres(f["lateral_mean_error_m"]),
                metres(f["longitudinal_mean_error_m"]),
                share(f["recall_1m"]),
                share(f["recall_5m"]),
                share(f["lateral_recall_1m"]),
                share(f["longitudinal_recall_1m"]),
            ]
            for name, f in rows.items()
        ],
    )


def papers_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a method in the form of the papers' tables; dashes where a method gives no yaw."""
    header = ["", "mean m", "median m", "lat @1m %", "lat @5m %", "lon @1m %", "lon @5m %"]
    header += ["yaw mean deg", "median deg", "@1deg %", "@5deg %"]
    return table(
        header,
        [
            [
                name,
                metres(f["mean_error_m"]),
                metres(f["median_error_m"]),
                *[share(f[f"{axis}_recall_{limit}m"]) for axis in ("lateral", "longitudinal") for limit in (1, 5)],
                degrees(f.get("yaw_mean_error_deg")),
                degrees(f.get("yaw_median_error_deg")),
                *[share(f.get(f"yaw_recall_{limit}deg")) for limit in (1, 5)],
            ]
            for name, f in rows.items()
        ],
    )


_CONSISTENCY_ROWS = (
    ("position: ANEES", "anees", "1"),
    ("inside 50 %", "coverage_50", "50"),
    ("inside 90 %", "coverage_90", "90"),
    ("inside 95 %", "coverage_95", "95"),
    ("negative log-likelihood", "nll", "-"),
    ("of the best constant one", "nll_constant", "-"),
    ("AUSE", "ause", "0"),
    ("median sigma forward m", "longitudinal_sigma_m", "-"),
    ("median sigma sideways m", "lateral_sigma_m", "-"),
    ("with yaw: ANEES", "pose_anees", "1"),
    ("inside 95 % with yaw", "pose_coverage_95", "95"),
    ("median sigma yaw deg", "yaw_sigma_deg", "-"),
    ("AUROC of the quality, 5 m", "auroc_5m", "1"),
    ("published", "availability", "-"),
    ("of these: mean error m", "published_mean_error_m", "-"),
    ("position: ANEES", "published_anees", "1"),
    ("inside 95 %", "published_coverage_95", "95"),
    ("beyond 99.9 %", "published_beyond_999", "0.1"),
)


def consistency_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """What covariances and qualities are worth: a column a method, and what truthful ones would have.

    Lines that no method has a figure for are left out.
    """
    return table(
        ["covariance", *rows, "truthful"],
        [
            [title, *[_consistency_cell(key, f.get(key)) for f in rows.values()], truthful]
            for title, key, truthful in _CONSISTENCY_ROWS
            if any(key in f for f in rows.values())
        ],
    )


def scenes_table(model: str, scenes: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a kind of scene: errors in metres, shares in percent. Each value holds the fixed figure keys."""
    header = [model, "pairs", "mean m", "median m", "ANEES", "in 50 %", "in 90 %", "in 95 %", "published"]
    header += ["these: mean m", "beyond 99.9 %"]
    return table(
        header,
        [
            [
                name,
                str(f["frames"]),
                metres(f["mean_error_m"]),
                metres(f["median_error_m"]),
                metres(f["anees"]),
                *[share(f[f"coverage_{level}"]) for level in (50, 90, 95)],
                share(f["availability"]),
                metres(f.get("published_mean_error_m")),
                share(f.get("published_beyond_999")),
            ]
            for name, f in scenes.items()
        ],
    )


def _consistency_cell(key: str, value: float | None) -> str:
    is_share = "coverage" in key or key in ("availability", "published_beyond_999")
    return share(value) if is_share else metres(value)


def drive_table(f: Mapping[str, Any]) -> str:
    """The end of a drive: every trajectory against the truth, then rate, latency and availability."""
    names = {"dead_reckoning": "dead reckoning", "fixes": "published poses", "track": "tracked pose"}
    rows = [
        [
            title,
            metres(f[key]["rmse_m"]),
            metres(f[key]["median_error_m"]),
            metres(f[key]["p95_error_m"]),
            metres(f[key]["max_error_m"]),
            metres(f[key]["final_error_m"]),
        ]
        for key, title in names.items()
    ]
    latency = f["latency_ms"]
    if latency is None:
        latency_line = "latency       not known: the camera's and the recorder's clocks differ"
    else:
        latency_line = (
            f"latency ms    p50 {latency['p50']:.0f}, p95 {latency['p95']:.0f}, p99 {latency['p99']:.0f} "
            "(image stamp to recorded pose)"
        )
    fixes = f["fixes"]
    memory_mb = f.get("localizer_memory_mb")
    memory = []
    if memory_mb:
        resident, peak = memory_mb["resident"], memory_mb["peak"]
        memory = [f"memory        {resident:.0f} MB in the localizer at the end, {peak:.0f} MB at most"]
    return "\n".join(
        [
            table(["error in m", "RMSE", "median", "p95", "largest", "at the end"], rows),
            "",
            f"drive         {f['distance_m']:.0f} m in {f['duration_s']:.0f} s, "
            f"{f['camera_frames_per_second']:.1f} camera frames a second",
            f"fixes         {f['fixes_per_second']:.1f} a second; {share(f['availability'])} % of the frames have one, "
            f"at most 1 s old; {f['poses_per_second']:.1f} poses a second were published",
            latency_line,
            f"covariance    ANEES {fixes['anees']:.2f} (truthful: 1), "
            f"{share(fixes['coverage_95'])} % of the poses inside their 95 % ellipse",
            *memory,
        ]
    )


def replay_table(f: Mapping[str, Any]) -> str:
    """Formats what a replay reached: what became of the frames, and the errors where the truth is known."""
    outcomes = ", ".join(f"{name} {count}" for name, count in f["outcomes"].items())
    states = ", ".join(f"{name} {share(count / f['frames'])} %" for name, count in f["states"].items())
    lines = [
        f"{f['fixes']} of {f['frames']} frames gave a pose, availability {share(f['availability'])} %",
        f"frames: {outcomes}",
        f"track: {states}",
    ]
    if f["times_real_time"] is not None:
        lines.append(
            f"{f['duration_s']:.0f} s replayed in {f['seconds']:.0f} s: {f['times_real_time']:.1f} x real time"
        )
    rows = [(name, row) for name, row in (("fixes", f), ("track", f.get("track", {}))) if "rmse_m" in row]
    if rows:
        header = ("against the truth", "RMSE", "median", "p95", "ANEES", "% in the 95 % ellipse")
        cells = [
            [
                *(name, metres(row["rmse_m"]), metres(row["median_error_m"]), metres(row["p95_error_m"])),
                *(f"{row['anees']:.2f}", share(row["coverage_95"])),
            ]
            for name, row in rows
        ]
        lines += ["", table(header, cells)]
    return "\n".join(lines)


def replay_comparison(f: Mapping[str, Any]) -> str:
    """Formats models on the same recorded drive: the figures of each, and by how much their mean errors differ."""
    header = ("", "frames", "with a pose", "availability %", "mean m", "median m", "p95 m", "ANEES", "track mean m")
    rows = [
        [
            *(name, str(row["frames"]), str(row["fixes"]), share(row["availability"]), metres(row.get("mean_error_m"))),
            *(metres(row.get("median_error_m")), metres(row.get("p95_error_m")), metres(row.get("anees"))),
            metres(row.get("track", {}).get("mean_error_m")),
        ]
        for name, row in f["models"].items()
    ]
    differences = [
        [
            f"{row['model']} minus {row['against']}, {row['of']}",
            *(str(row["frames"]), str(row["stretches"]), _signed(row["difference_m"])),
            "-" if row["interval_m"] is None else " to ".join(map(_signed, row["interval_m"])),
        ]
        for row in f["differences"]
    ]
    of_differences = ("difference of the mean errors", "frames", "stretches", "m", "95 % interval m")
    return f"{table(header, rows)}\n\n{table(of_differences, differences)}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def localized_text(result: Mapping[str, Any]) -> str:
    """One localized image (`localization.single_image.result_of`), for a person."""
    ellipse, quality = result["ellipse"], result["quality"]
    lines = [
        f"latitude   {result['latitude_deg']:.7f}",
        f"longitude  {result['longitude_deg']:.7f}",
        f"ellipse    {ellipse['semi_major_m']:.2f} x {ellipse['semi_minor_m']:.2f} m (semi-axes, "
        f"{100 * ellipse['confidence']:.0f} %), the longer one {ellipse['bearing_deg']:.0f} deg from north",
        f"moved      {result['east_m']:+.2f} m east, {result['north_m']:+.2f} m north of the given position",
        f"took       {result['timings']['total_ms']:.0f} ms",
    ]
    if "heading_deg" in result:
        lines.insert(2, f"heading    {result['heading_deg']:.1f} ± {result['heading_std_deg']:.1f} deg from north")
    lines.append(f"lens       {result['lens']}")
    if result["patch_ground_share"] < 1.0:
        lines.append(f"patch      {100 * result['patch_ground_share']:.0f} % of it shows ground")
    if not quality["trustworthy"]:
        lines.append(f"not to be trusted: {quality['reason']}")
    return "\n".join(lines)
