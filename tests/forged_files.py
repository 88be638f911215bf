"""Damage and forge files of estimators, and see what loading them does.

``make fuzz`` does so 1,000 times; the tests do it a few times.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np

from sklearn_repr import InvalidFileError, load
from sklearn_repr.data.dtypes import from_plain
from sklearn_repr.engine.portable import known_classes
from sklearn_repr.engine.reader import Reader

# What text and values take beside arrays: some 20 times their size, and what libraries
# take for themselves
SPARE_BYTES = 2**21
# What nothing that a file says may cause
EVENTS = ("exec", "compile", "import", "os.", "subprocess.", "socket.", "pickle.")
KINDS = tuple(Reader(lambda at: np.zeros(at))._readers)
VALUES = (
    *(None, True, -1, 0, 3, 2**40, 2**70, 1e308, "", "os.system", "__class__", "../x"),
    *([], {}, [[]], {"ref": 0}, {"ref": 10**6}, {"array": [0, None]}),
    *({"range": [0, 2**40, 1]}, {"numbers": 0}, {"tuple": {"range": [0, 2**40, 1]}}),
    *({"object": ["os.system", {}]}, {"object": ["Program", {"source": "import os"}]}),
    *({"plain": ["polars", "os"]}, {"dtype": "U999999999"}, {"scalar": ["float64", []]}),
)


def parts_of(content):
    """Return the places of arrays as JSON, the text as JSON, and the bytes of arrays."""
    length = int.from_bytes(content[:8], "little")
    places, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    start, stop = places["state"]["data_offsets"]
    return places, json.loads(data[start:stop]), data, (start, stop)


def joined(places, data):
    header = json.dumps(places).encode()
    return len(header).to_bytes(8, "little") + header + data


def nodes_of(value, found):
    """Collect every place of a JSON value: its container and key."""
    items = enumerate(value) if isinstance(value, list) else ()
    items = value.items() if isinstance(value, dict) else items
    for key, part in items:
        found.append((value, key))
        nodes_of(part, found)
    return found


def flipped(content, rng):
    damaged = bytearray(content)
    for at in rng.integers(0, len(content), rng.integers(1, 30)):
        damaged[at] = rng.integers(256)
    return bytes(damaged)


def cut(content, rng):
    at = int(rng.integers(0, len(content)))
    return content[:at] if rng.random() < 0.8 else content + content[:at]


def forged_length(content, rng):
    length = int(rng.choice([0, 1, 7, 2**24, 2**31, 2**62, len(content)]))
    return length.to_bytes(8, "little") + content[8:]


def forged_places(content, rng):
    places, _, data, _ = parts_of(content)
    found = nodes_of(places, [])
    for index in rng.integers(0, len(found), rng.integers(1, 4)):
        container, key = found[index]
        values = [
            -1,
            0,
            1,
            2**40,
            2**63,
            "F64",
            "BOOL",
            "U8",
            [],
            [0, 2**50],
            [2**32] * 2,
        ]
        container[key] = values[rng.integers(len(values))]
    return joined(places, data)


def deep(content, rng):
    depth = int(rng.choice([10, 500, 5_000, 50_000]))
    kind = KINDS[rng.integers(len(KINDS))]
    opening, closing = (b'{"%s":' % kind.encode(), b"}") if rng.random() < 0.5 else b"[]"
    if isinstance(opening, int):
        opening, closing = b"[", b"]"
    return with_text(content, opening * depth + b"1" + closing * depth)


def forged_values(content, rng):
    _, state, _, _ = parts_of(content)
    found = nodes_of(state, [])
    names = list(known_classes())
    for index in rng.integers(0, len(found), rng.integers(1, 6)):
        container, key = found[index]
        drawn = rng.random()
        if drawn < 0.5:
            container[key] = VALUES[rng.integers(len(VALUES))]
        elif drawn < 0.7:
            container[key] = names[rng.integers(len(names))]
        elif drawn < 0.85 and isinstance(container, dict):
            # such as a list in the place of a tuple, or an attribute by another name
            methods = (*KINDS, "fit", "forward", "__class__", "__setstate__")
            container[methods[rng.integers(len(methods))]] = container.pop(key, None)
        else:
            other, there = found[rng.integers(len(found))]
            try:
                container[key] = other[there]
            except (KeyError, IndexError):
                continue
    try:
        return with_text(content, json.dumps(state).encode())
    except (ValueError, RecursionError):  # it holds itself now
        return content


def with_text(content, text):
    """Put other text into a file whose places are right."""
    places, _, data, (start, stop) = parts_of(content)
    longer = len(text) - (stop - start)
    for name, place in places.items():
        if name != "__metadata__" and place["data_offsets"][0] >= stop:
            place["data_offsets"] = [end + longer for end in place["data_offsets"]]
    places["state"] |= {"shape": [len(text)], "data_offsets": [start, start + len(text)]}
    return joined(places, data[:start] + text + data[stop:])


MUTATIONS = (
    *(flipped, cut, forged_length, forged_places, deep),
    *(forged_values, forged_values, forged_values),
)


class Watch:
    """Notes what Python's audit events tell while it is on."""

    def __init__(self):
        self.on, self.seen, self.path = False, [], None
        sys.addaudithook(self.hear)

    def hear(self, event, args):
        if self.on and event.startswith(EVENTS):
            self.seen.append((event, args[:1]))
        if self.on and event == "open" and str(args[0]) != str(self.path):
            self.seen.append((event, args[:1]))


def load_forged(sources, count, seed, folder):
    """Load so many forged files, and return how many did load after all.

    Raises
    ------
    AssertionError
        If a file does anything but load or raise an InvalidFileError, or takes more
        memory than twice its size beside `SPARE_BYTES`.
    """
    rng = np.random.default_rng(seed)
    contents = [Path(source).read_bytes() for source in sources]
    # what is imported at first use is imported now, frames' libraries too
    from_plain(["polars", "String"])
    from_plain(["arrow", "string"])
    for source in sources:
        load(source)
    watch, path, n_loaded = Watch(), folder / "forged.safetensors", 0
    watch.path = path
    tracemalloc.start()
    try:
        for i in range(count):
            mutation = MUTATIONS[i % len(MUTATIONS)]
            content = mutation(contents[rng.integers(len(contents))], rng)
            path.write_bytes(content)
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            start = time.perf_counter()
            watch.on = True
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    load(path)
                n_loaded += 1
            except InvalidFileError:
                pass
            finally:
                watch.on = False
            seconds = time.perf_counter() - start
            _, peak = tracemalloc.get_traced_memory()
            what = f"forged file {i} of seed {seed}, {mutation.__name__}"
            assert not watch.seen, f"{what}: {watch.seen[:5]}"
            taken = peak - before
            assert taken <= 2 * len(content) + SPARE_BYTES, f"{what}: {taken}"
            assert seconds < 10, f"{what}: {seconds} s"
    finally:
        tracemalloc.stop()
    return n_loaded


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    sources = sorted((Path(__file__).parent / "golden").rglob("*.safetensors"))
    with tempfile.TemporaryDirectory() as folder:
        n_loaded = load_forged(sources, count, 0, Path(folder))
    print(f"{count} forged files: {n_loaded} loaded, {count - n_loaded} refused")  # noqa: T201
