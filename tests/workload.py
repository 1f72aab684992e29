#!/usr/bin/env python3
"""Makes the trees that the benchmark measures, the same bytes every time.

    workload.py small DIR          2,000 files, 20 MB, beside 20,000 ignored ones
    workload.py large DIR          100,000 files, 400 MB, nested ignore files
    workload.py medium DIR         20,000 files, 200 MB
    workload.py shards DIR         20 files of 200 MB
    workload.py one DIR            one file of 2 GB
    workload.py edit DIR N ROUND   appends a line to N files of a large tree
"""

import os
import random
import sys

WORDS = (
    "import os sys torch numpy def class return self model train loss batch for in range if else "
    "None True False print config path join open with as lambda yield optimizer dataset loader "
    "epoch step lr decay grad tensor shape view device cuda cpu"
).split()
ENDINGS = (".py", ".yaml", ".json", ".md", ".txt", ".rs", ".sh")


class Text:
    """Slices of one block of text under a header of their own: text-like, every file different."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        lines, size = [], 0
        while size < 8 << 20:
            words = " ".join(self.random.choices(WORDS, k=self.random.randint(3, 12)))
            lines.append(f"{words}  # {self.random.getrandbits(32):08x}\n")
            size += len(lines[-1])
        self.block = "".join(lines)
        self.made = 0

    def make(self, size):
        self.made += 1
        head = f"# file {self.made} {self.random.getrandbits(64):016x}\n"
        start = self.random.randrange(len(self.block) - max(1, size))
        return head + self.block[start : start + max(0, size - len(head))]


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def tree(root, files, total_bytes, seed, per_directory, fan):
    """Makes `files` files with log-normal sizes that sum to about `total_bytes`."""
    rng, text = random.Random(seed), Text(seed)
    weights = [rng.lognormvariate(0, 1.2) for _ in range(files)]
    scale = total_bytes / sum(weights)
    directories = [""]
    for index in range((files + per_directory - 1) // per_directory):
        parent = directories[index // fan] if index else ""
        directories.append(os.path.join(parent, f"pkg_{index:05d}"))
    directories = directories[1:]
    for directory in directories:
        os.makedirs(os.path.join(root, directory), exist_ok=True)
    for index, weight in enumerate(weights):
        name = f"module_{index:06d}{ENDINGS[index % len(ENDINGS)]}"
        directory = directories[index // per_directory]
        write(os.path.join(root, directory, name), text.make(max(20, int(weight * scale))))
    return directories


def small(root):
    os.makedirs(root)
    tree(root, 2_000, 20_000_000, 1, 20, 8)
    write(os.path.join(root, ".gitignore"), "node_modules/\n.venv/\n*.pyc\n__pycache__/\n/outputs/\n")
    tree(os.path.join(root, "node_modules"), 14_000, 56_000_000, 2, 14, 10)
    tree(os.path.join(root, ".venv"), 6_000, 24_000_000, 3, 20, 10)


def medium(root):
    os.makedirs(root)
    tree(root, 20_000, 200_000_000, 5, 25, 10)


def large(root):
    os.makedirs(root)
    directories = tree(root, 100_000, 400_000_000, 4, 25, 10)
    ignored = "*.pyc\n__pycache__/\n/outputs/\n*.log\n!keep.log\n.venv/\n"
    write(os.path.join(root, ".gitignore"), ignored)
    for directory in directories[::40]:
        path = os.path.join(root, directory)
        write(os.path.join(path, ".gitignore"), "*.tmp\n/build/\n!important.tmp\ndata/**/cache\n")
        write(os.path.join(path, "x.tmp"), "t" * 100)
        write(os.path.join(path, "important.tmp"), "t" * 100)
        os.makedirs(os.path.join(path, "build"), exist_ok=True)
        write(os.path.join(path, "build", "o.o"), "o" * 1000)


def shards(root, count=20, megabytes=200):
    os.makedirs(root)
    for index in range(count):
        rng = random.Random(1000 + index)
        with open(os.path.join(root, f"shard_{index:03d}.bin"), "wb") as file:
            for _ in range(megabytes // 8):
                file.write(rng.randbytes(8_000_000))


def edit(root, count, edit_round):
    """Appends a line to `count` files; another round takes other files."""
    paths = []
    for directory, _, names in os.walk(root):
        paths += [os.path.join(directory, name) for name in names if name.startswith("module_")]
    paths.sort()
    order = random.Random(7).sample(range(len(paths)), min(5_000, len(paths)))
    for index in range(count):
        with open(paths[order[(edit_round * count + index) % len(order)]], "a", encoding="utf-8") as file:
            file.write(f"# edit {edit_round}\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["small", root]:
            small(root)
        case ["large", root]:
            large(root)
        case ["medium", root]:
            medium(root)
        case ["shards", root]:
            shards(root)
        case ["one", root]:
            shards(root, 1, 2_000)
        case ["edit", root, count, edit_round]:
            edit(root, int(count), int(edit_round))
        case _:
            sys.exit(__doc__)
