"""Clips whose lips and sound belong together, out of a table of measurements: what lips can be learned from.

    python experiments/audio2mesh/in_sync.py CLIPS outputs/in_sync

Training clips are copied with their sound moved by the lag the table states, if that is clear ("in sync", "probably
in sync" or "offset"); validation clips are taken as they are, and only those in sync. Nothing is coded anew.
`--tuning` leaves the validation clips out and makes every fourth training identity one, unmoved: settings are chosen
on people that the reported figures do not know.
"""

import argparse
import csv
from fractions import Fraction
from pathlib import Path

import av

IN_SYNC = ("in sync", "probably in sync")
CLEARLY_LATE = "offset"
LEAST_SCORE = 3.9
"""Peaks of the measured offset that stand less clear of the others may be chance."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path, help="folder with the films; its table is clips.csv beside it")
    parser.add_argument("out", type=Path, help="folder to fill: films and a table.csv for prepare.py")
    parser.add_argument(
        "--unmoved", action="store_true", help="leave sounds as they are, and offset clips out"
    )
    parser.add_argument("--tuning", action="store_true", help="split the training identities instead")
    options = parser.parse_args()
    with options.clips.with_name("clips.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if usable(row, options.unmoved)]
    if options.tuning:
        rows = tuning_split(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(("file", "identity", "split"))
        for row in rows:
            moved = row["split"] == "train" and not options.unmoved
            file = Path(row["file"]).with_suffix(".mkv")
            copy(options.clips / row["file"], options.out / file, int(row["sync_lag_ms"]) if moved else 0)
            table.writerow((file, row["identity"], row["split"]))


def usable(row: dict[str, str], unmoved: bool) -> bool:
    """Whether lips can be learned from a clip of the table."""
    if row["sync"] in IN_SYNC:
        return True
    clear = row["sync"].startswith(CLEARLY_LATE) and float(row["sync_z"]) >= LEAST_SCORE
    return clear and row["split"] == "train" and not unmoved


def tuning_split(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The training clips alone, those of every fourth identity for validation if they are in sync."""
    rows = [row for row in rows if row["split"] == "train"]
    held_out = set(sorted({row["identity"] for row in rows})[::4])
    split = [row | {"split": "val" if row["identity"] in held_out else "train"} for row in rows]
    return [row for row in split if row["split"] == "train" or row["sync"] in IN_SYNC]


def copy(film: Path, target: Path, lag_ms: int) -> None:
    """Picture and sound as they are, the later of the two moved back; a negative lag is a sound that comes late."""
    lag = Fraction(lag_ms, 1000)
    with av.open(str(film)) as source, av.open(str(target), "w") as result:
        streams = [*source.streams.video[:1], *source.streams.audio[:1]]
        copies = {stream.index: result.add_stream_from_template(stream) for stream in streams}
        for packet in source.demux(streams):
            if packet.dts is None:
                continue
            delay = max(lag, Fraction(0)) if packet.stream.type == "audio" else max(-lag, Fraction(0))
            steps = round(delay / packet.time_base)
            packet.pts, packet.dts = None if packet.pts is None else packet.pts + steps, packet.dts + steps
            packet.stream = copies[packet.stream.index]
            result.mux(packet)


if __name__ == "__main__":
    main()
