"""The figures of a benchmark as tables and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoflow_ros.bench.stages import STAGES
from geoflow_ros.bench.sweep import FEW, MANY, USUAL_ITERATIONS
from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.tables import table
from geoflow_ros.visualization.plots import pyplot, save_figure


def text_of(result: Mapping[str, Any]) -> str:
    """Formats the result of `run.run_bench` as tables."""
    parts = [_head(result), _stages(result), _rates(result)]
    if any(report["sweep"] for report in result["backends"].values()):
        parts.append(_sweep(result))
    if result["torch"]:
        parts.append(_torch(result))
    if result["patch_change"]:
        parts.append(_patch_change(result))
    if any(report["start"] for report in result["backends"].values()):
        parts.append(_starts(result))
    if result["soak"]:
        soak = result["soak"]
        parts.append(
            f"soak of {soak['frames']} frames with {result['quickest']}: resident {soak['start_mib']:.0f} MiB after "
            f"the first answer, {soak['middle_mib']:.0f} in the middle, {soak['end_mib']:.0f} at the end; "
            f"{soak['slope_mib_per_1000']:+.3f} MiB in 1000 frames"
        )
    if result["cost"]:
        parts += [_cost(result), _floors(result)]
    parts += [_check(check) for check in result["precision_checks"]]
    parts.append(_targets(result))
    if result["left_out"]:
        parts.append("\n".join(f"left out: {label}: {reason}" for label, reason in result["left_out"].items()))
    return "\n\n".join(parts)


def _head(result: Mapping[str, Any]) -> str:
    machine, model, settings = result["machine"], result["model"], result["settings"]
    height, width = model["ground_px"]
    size = f"patch {model['satellite_px']}², camera {height} x {width}"
    if model["satellite_px"] != model["trained_satellite_px"] or model["ground_px"] != model["trained_ground_px"]:
        trained_height, trained_width = model["trained_ground_px"]
        size += (
            f" (the same weights, trained at {model['trained_satellite_px']}² and {trained_height} x {trained_width}: "
            "for speed alone)"
        )
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return "\n".join(
        [
            f"command  {result['command']}" if result["command"] else "command  (called from Python)",
            f"machine  {machine['cpu']}, {machine['cores']} cores ({', '.join(machine['vector_units'])}), "
            f"{machine['memory_gib']:.0f} GiB, GPU: {machine['gpu'] or 'none'}, {machine['system']}",
            f"versions {versions}",
            f"model    {model['name']}, {size}",
            f"frame    N = {settings['hypotheses']}, R = {settings['iterations']}, "
            f"threads {settings['threads'] or 'as each back end likes'}",
        ]
    )


def _stages(result: Mapping[str, Any]) -> str:
    """Median and 95th percentile; the satellite's stage is that of frames on a new patch, all others on a kept one."""
    rows = []
    for stage in STAGES:
        cells = []
        for report in result["backends"].values():
            source = report["new_patch"] if stage == "satellite" else report["kept_patch"]
            cells.append(_spread(source["stages_ms"][stage]))
        name = {"refinement": "one refinement", "satellite": "satellite (new patch)", "total": "total, patch kept"}
        rows.append([name.get(stage, stage), *cells])
    new = [_spread(report["new_patch"]["stages_ms"]["total"]) for report in result["backends"].values()]
    rows.append(["total, new patch", *new])
    return table(["ms, median / p95", *result["backends"]], rows)


def _spread(values: Mapping[str, float]) -> str:
    digits = 1 if values["p50"] >= 10.0 else 2
    return f"{values['p50']:.{digits}f} / {values['p95']:.{digits}f}"


def _rates(result: Mapping[str, Any]) -> str:
    rows = []
    for label, report in result["backends"].items():
        sweep = report["sweep"]
        rows.append(
            [
                label,
                f"{report['kept_patch']['frames_per_second']:.1f}",
                f"{report['new_patch']['frames_per_second']:.1f}",
                f"{100 * report['refinement_share']:.1f}",
                f"{sweep['ratio_1000_to_10_hypotheses']:.2f}" if sweep else "-",
            ]
        )
    return table(["", "frames/s", "on new patches", "refinement %", "N = 1000 / N = 10"], rows)


def _sweep(result: Mapping[str, Any]) -> str:
    report = result["backends"][result["quickest"]]
    if not report["sweep"]:
        return ""
    points = {(p["hypotheses"], p["iterations"]): p["ms"] for p in report["sweep"]["points"]}
    by_n = [[f"N = {n}, R = {USUAL_ITERATIONS}", f"{ms:.1f}"] for (n, r), ms in points.items() if r == USUAL_ITERATIONS]
    by_r = [
        [f"N = {n}, R = {r}", f"{ms:.1f}"]
        for (n, r), ms in points.items()
        if n in (FEW, MANY) and r != USUAL_ITERATIONS
    ]
    return table([f"image to fix, {result['quickest']}", "ms"], by_n + by_r)


def _torch(result: Mapping[str, Any]) -> str:
    authors, once, beside = (result["torch"][key] for key in ("authors", "encode_once", "beside"))
    n, r = result["settings"]["hypotheses"], result["settings"]["iterations"]
    if authors["whole_frames"]:
        how = f"{authors['whole_frames']} whole frame(s) run, {authors['passes']} passes of a batch of {n}"
    else:
        how = f"no whole frame run: {r} times the median of {authors['passes']} pass(es) of a batch of {n}"

    def times(ratio: float | None, digits: int) -> str:
        return "-" if ratio is None else f"{ratio:.{digits}f}"

    rows = [
        ["torch eager, encode once, patch kept", f"{once['kept_ms']:.1f}", times(once["ratio"], 1), "-"],
        ["torch eager, encode once, new patch", f"{once['new_ms']:.1f}", "-", times(once["ratio_new_patch"], 1)],
        [
            f"the authors' way: encode {n} x {r} times",
            f"{authors['frame_ms']:.0f}",
            times(authors["ratio"], 0),
            times(authors["ratio_new_patch"], 0),
        ],
    ]
    if beside is not None:
        report = result["backends"][beside]
        kept, new = (report[patch]["stages_ms"]["total"]["p50"] for patch in ("kept_patch", "new_patch"))
        rows.insert(0, [f"{beside}, new patch", f"{new:.1f}", "-", "1"])
        rows.insert(0, [f"{beside}, patch kept", f"{kept:.1f}", "1", "-"])
    difference = result["torch"]["difference_m"]
    same = "" if difference is None else f"; both torch answers are {1e3 * difference:.2g} mm apart"
    header = ["the same frame, on the CPU", "ms", "x patch kept", "x new patch"]
    return f"{table(header, rows)}\nthe authors' way: {how}{same}"


def _patch_change(result: Mapping[str, Any]) -> str:
    drive = result["patch_change"]
    beside = "-" if drive["beside_ms"] is None else f"{drive['beside_ms']:.1f}"
    return (
        f"drive of {drive['frames']} frames with {result['quickest']}: {drive['prepared']} patches made in the "
        f"background, {drive['awaited']} awaited (the first is one); at most {drive['most_frames_late']} frames late; "
        f"a frame takes {drive['alone_ms']:.1f} ms, beside the making of a patch {beside} ms, "
        f"at most {drive['longest_ms']:.1f} ms"
    )


def _starts(result: Mapping[str, Any]) -> str:
    rows = []
    for label, report in result["backends"].items():
        if not report["start"]:
            continue
        first, later = report["start"]["first"], report["start"]["later"]
        rows.append(
            [
                label,
                f"{first['wall_s']:.2f}",
                f"{later['wall_s']:.2f}",
                *[f"{later[key]:.2f}" for key in ("import_s", "load_s", "first_answer_s")],
                *["-" if later[key] is None else f"{later[key]:.0f}" for key in ("rss_mib", "peak_rss_mib")],
                "-" if later["device_mib"] is None else f"{later['device_mib']:.0f}",
            ]
        )
    header = ["fresh process", "first s", "later s", "import", "load", "answer", "RSS MiB", "peak MiB", "GPU MiB"]
    return table(header, rows)


def _cost(result: Mapping[str, Any]) -> str:
    rows = []
    for name, graph in result["cost"]["graphs"].items():
        rows.append([name, "", *_cost_cells(graph), f"{graph['unfused_megabytes']:.1f}"])
        for kind, part in graph["kinds"].items():
            rows.append([f"  {kind}", str(part["layers"]), *_cost_cells(part), ""])
    peaks = result["cost"]["peaks"]
    bf16 = "not measured" if peaks["bf16_gflops"] is None else f"{peaks['bf16_gflops']:.0f}"
    header = ["float32", "layers", "GFLOP", "MB", "arithmetic ms", "memory ms", "floor ms", "MB if unfused"]
    return (
        f"{table(header, rows)}\n"
        f"peaks of this machine: {peaks['fp32_gflops']:.0f} GFLOP/s float32, {bf16} GFLOP/s bfloat16 (matrix product), "
        f"{peaks['copy_gb_s']:.1f} GB/s (copy).\n"
        "floor: for each layer the longer of arithmetic and memory, summed; layers that stay in a cache can beat it"
    )


def _cost_cells(part: Mapping[str, Any]) -> list[str]:
    return [
        f"{part['gflop']:.3f}",
        f"{part['megabytes']:.1f}",
        *[f"{part[key]:.2f}" for key in ("arithmetic_ms", "memory_ms", "floor_ms")],
    ]


def _floors(result: Mapping[str, Any]) -> str:
    rows = []
    for label, graphs in result["cost"]["backends"].items():
        for graph, part in graphs.items():
            rows.append(
                [
                    f"{label}: {graph}",
                    f"{part['measured_ms']:.3g}",
                    f"{part['floor_ms']:.3g}",
                    f"{part['times_floor']:.1f}",
                    f"{part['gflops']:.0f}",
                ]
            )
    return table(["against the floor", "measured ms", "floor ms", "times", "GFLOP/s"], rows)


def _check(check: Mapping[str, Any]) -> str:
    verdict = "passed" if check["passes"] else "NOT passed"
    return (
        f"precision check {verdict}: {check['backend']}: mean error {check['mean_error_m']:.3f} m, float32 "
        f"{check['reference_mean_error_m']:.3f} m ({100 * check['change']:+.2f} %) on {check['pairs']} pairs "
        f"({check['data']}); answers differ by {check['median_difference_m']:.3f} m in the median, "
        f"{check['largest_difference_m']:.2f} m at most"
    )


def _targets(result: Mapping[str, Any]) -> str:
    rows = []
    for target in result["targets"]:
        measured = "-" if target["measured"] is None else f"{target['measured']:.2f}"
        verdict = "not measured" if target["met"] is None else "met" if target["met"] else "MISSED"
        rows.append([target["what"], measured, f"{'>=' if target['at_least'] else '<='} {target['limit']:g}", verdict])
    title = f"targets, {result['quickest']}"
    notes = []
    if not result["targets"][0]["applies"]:
        notes.append("(the targets are for 512² and 256 x 1024, N = 10, R = 5)")
    if not result["quickest_is_checked"]:
        notes.append(f"(no check says that {result['quickest']} is accurate enough: `geoflow evaluate precision`)")
    return "\n".join([table([title, "measured", "limit", ""], rows), *notes])


def sweep_picture(result: Mapping[str, Any], path: Path) -> None:
    """Draws the time of a frame against N and against R, as PNG.

    Raises:
        InputError: matplotlib is not installed, the place cannot be written, or the sweep was left out.
    """
    swept = {label: report["sweep"] for label, report in result["backends"].items() if report["sweep"]}
    if not swept:
        raise InputError("there is nothing to draw: the sweep over N and R was left out")
    figure, (by_n, by_r) = pyplot().subplots(1, 2, figsize=(11.0, 4.2), sharey=True)
    for number, (label, sweep) in enumerate(swept.items()):
        colour, points = f"C{number}", sweep["points"]
        usual = [(p["hypotheses"], p["ms"]) for p in points if p["iterations"] == USUAL_ITERATIONS]
        by_n.plot(*zip(*usual, strict=True), "o-", color=colour, markersize=4, label=label)
        for n, style in ((FEW, "o-"), (MANY, "s--")):
            some = [(p["iterations"], p["ms"]) for p in points if p["hypotheses"] == n]
            by_r.plot(*zip(*some, strict=True), style, color=colour, markersize=4)
    by_n.set(xscale="log", xlabel=f"hypotheses N (R = {USUAL_ITERATIONS})", ylabel="image to fix, ms")
    by_r.set(xlabel=f"iterations R (N = {FEW} solid, N = {MANY} dashed)")
    by_n.legend(fontsize=8)
    for axes in (by_n, by_r):
        axes.set_ylim(bottom=0.0)
        axes.grid(alpha=0.3)
    height, width = result["model"]["ground_px"]
    figure.suptitle(
        f"{result['model']['name']}, {result['model']['satellite_px']}² and {height} x {width}, "
        f"{result['machine']['cpu']}, {result['machine']['cores']} cores",
        fontsize=10,
    )
    save_figure(figure, path)
