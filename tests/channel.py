#!/usr/bin/env python3
"""Makes a conda channel of this machine's Python and of wheels, for tests without a network.

    channel.py DIR [REQUIREMENT…]

DIR becomes a channel: `python` packed from the interpreter that runs this, `pip`, and what the
requirements lead to, from wheels that `pip download` finds. What is there already stays: a second
call with the same requirements returns at once, and calls at the same time wait for each other.
Prints DIR as a file:// URL.

Needs the standard library and pip. The Python in it needs the glibc of this machine, or a newer
one, and the libraries of Debian's Python (libssl, libffi, libsqlite3, …); it runs from any
directory. Debian's own Python is put back to site-packages, which is where conda has packages.
"""
import email.parser, fcntl, hashlib, io, json, os, re, struct, subprocess, sys, sysconfig, tarfile
import tempfile, urllib.parse, zipfile
from pathlib import Path

FORMAT = 3  # To be raised when packages are made differently.
SHORT = "%d.%d" % sys.version_info[:2]
VERSION = sys.version.split()[0].rstrip("+")
PLACEHOLDER = "/opt/placeholder/of/the/prefix"
LEFT_OUT = {"test", "tests", "idlelib", "turtledemo", "tkinter", "lib2to3", "__pycache__",
            "site-packages", "dist-packages", "EXTERNALLY-MANAGED", "sitecustomize.py"}


def main():
    directory, requirements = Path(sys.argv[1]).absolute(), sorted(sys.argv[2:])
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state_file = directory / ".state.json"
        state = json.loads(state_file.read_text()) if state_file.exists() else {}
        identity = [FORMAT, sys.version, os.path.realpath(sys.executable)]
        if state.get("identity") != identity:
            state = {"identity": identity, "asked": [], "records": {}, "wheels": []}
        if requirements not in state["asked"]:
            if not state["records"]:
                add(directory, state, python_package())
            with tempfile.TemporaryDirectory() as wheels:
                download(["pip", *requirements], wheels)
                for wheel in sorted(Path(wheels).glob("*.whl")):
                    if wheel.name not in state["wheels"]:
                        add(directory, state, wheel_package(wheel))
                        state["wheels"].append(wheel.name)
            state["asked"].append(requirements)
            write_repodata(directory, state["records"])
            replace(state_file, json.dumps(state))
    print("file://" + urllib.parse.quote(str(directory)))


def download(requirements, directory):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:",
               "--disable-pip-version-check", "--dest", directory, *requirements]
    subprocess.run(command, check=True, stdout=sys.stderr)


class Package:
    """Files on their way into a package."""

    def __init__(self, name, version, depends, noarch=False, entry_points=()):
        self.noarch, self.entry_points = noarch, list(entry_points)
        self.index = {"name": name, "version": version, "build": "trainyard_0", "build_number": 0,
                      "depends": depends, "subdir": "noarch" if noarch else "linux-64",
                      "arch": None if noarch else "x86_64", "platform": None if noarch else "linux",
                      "license": "see the package", "timestamp": 1700000000000}
        if noarch:
            self.index["noarch"] = "python"
        self.members, self.paths = [], []

    def file(self, path, content, mode=0o644, placeholder=None):
        self.members.append((path, content, mode))
        entry = {"_path": path, "path_type": "hardlink", "size_in_bytes": len(content),
                 "sha256": hashlib.sha256(content).hexdigest()}
        if placeholder:
            entry.update(prefix_placeholder=placeholder, file_mode="text")
        self.paths.append(entry)

    def link(self, path, target):
        self.members.append((path, target, None))
        empty = hashlib.sha256(b"").hexdigest()
        self.paths.append({"_path": path, "path_type": "softlink", "size_in_bytes": 0, "sha256": empty})

    def script(self, name, entry_point):
        module, function = (part.strip() for part in entry_point.split(":", 1))
        text = ("#!%s/bin/python\nimport sys\nfrom %s import %s\nsys.exit(%s())\n"
                % (PLACEHOLDER, module, function.split(".")[0], function))
        self.file("bin/" + name, text.encode(), 0o755, PLACEHOLDER)

    def pack(self, directory):
        info = {"index.json": self.index, "about.json": {},
                "paths.json": {"paths_version": 1, "paths": self.paths}}
        if self.noarch:
            noarch = {"type": "python", "entry_points": self.entry_points}
            info["link.json"] = {"noarch": noarch, "package_metadata_version": 1}
        info["files"] = "".join(entry["_path"] + "\n" for entry in self.paths)
        about = [("info/" + name, value if name == "files" else json.dumps(value))
                 for name, value in info.items()]
        stem = "%(name)s-%(version)s-%(build)s" % self.index
        subdir = directory / self.index["subdir"]
        subdir.mkdir(exist_ok=True)
        raw = io.BytesIO()
        with zipfile.ZipFile(raw, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"conda_pkg_format_version": 2}))
            archive.writestr("info-%s.tar.zst" % stem,
                             zstd(tarred((path, text.encode(), 0o644) for path, text in about)))
            archive.writestr("pkg-%s.tar.zst" % stem, zstd(tarred(self.members)))
        packed = raw.getvalue()
        replace(subdir / (stem + ".conda"), packed)
        return stem + ".conda", {**self.index, "size": len(packed),
                                 "md5": hashlib.md5(packed).hexdigest(),
                                 "sha256": hashlib.sha256(packed).hexdigest()}


def tarred(members):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path, content, mode in members:
            put(tar, path, content, mode)
    return raw.getvalue()


def zstd(content):
    """Zstandard without compressing: nothing to install for it, and quick to read and to write."""
    block = 128 << 10
    starts = range(0, len(content), block)
    # The magic number, no options, a window of 128 KiB; then blocks as they are, the last marked.
    frame = [struct.pack("<IBB", 0xFD2FB528, 0, 7 << 3)]
    for start in starts:
        part = content[start:start + block]
        frame.append(struct.pack("<I", len(part) << 3 | (start == starts[-1]))[:3] + part)
    return b"".join(frame)


def put(tar, path, content, mode):
    member = tarfile.TarInfo(path)
    if mode is None:
        member.type, member.linkname = tarfile.SYMTYPE, content
        tar.addfile(member)
    else:
        member.size, member.mode = len(content), mode
        tar.addfile(member, io.BytesIO(content))


def python_package():
    """This interpreter, without packages and without what tests do not need."""
    package = Package("python", VERSION, [])
    executable = "bin/python" + SHORT
    source = sysconfig.get_config_var("BINDIR") + "/python" + SHORT
    if not os.path.exists(source):
        source = os.path.realpath(sys.executable)
    package.file(executable, relocatable(Path(source).read_bytes()), 0o755)
    for name in ("bin/python3", "bin/python"):
        package.link(name, os.path.basename(executable))
    library = sysconfig.get_config_var("INSTSONAME") or ""
    shared = Path(sysconfig.get_config_var("LIBDIR") or "", library)
    if ".so" in library and shared.exists() and b"libpython" in Path(source).read_bytes():
        package.file("lib/" + library, relocatable(shared.read_bytes()), 0o755)
    stdlib = Path(os.__file__).resolve().parent
    for folder, folders, files in os.walk(stdlib):
        folders[:] = sorted(f for f in folders if f not in LEFT_OUT and not f.startswith("config-"))
        for name in sorted(files):
            path = Path(folder, name)
            if name in LEFT_OUT or name.endswith((".a", ".pyc")) or not path.exists():
                continue
            inside = "lib/python%s/%s" % (SHORT, path.relative_to(stdlib))
            package.file(inside, conda_paths(name, path.read_bytes()))
    if "deb_system" in sysconfig.get_scheme_names():
        package.file("lib/python%s/sitecustomize.py" % SHORT, SITE.encode())
    return package


def relocatable(binary):
    """Lets a program find libpython beside itself, wherever it is."""
    for folder in {sysconfig.get_config_var("LIBDIR"), sys.base_prefix + "/lib"}:
        old, new = b"\0" + str(folder).encode() + b"\0", b"\0$ORIGIN/../lib\0"
        if folder and len(new) <= len(old):
            binary = binary.replace(old, new.ljust(len(old), b"\0"))
    return binary


# Debian's `site` is part of the program, and knows other directories only.
SITE = """import site, sys
if sys.prefix == sys.base_prefix:
    site.addsitedir("%s/lib/python%d.%d/site-packages" % (sys.prefix, *sys.version_info[:2]))
"""


def conda_paths(name, content):
    """Takes Debian's own place for packages out of the standard library."""
    if name == "sysconfig.py":
        content = content.replace(b"prefix_scheme = 'posix_local'", b"prefix_scheme = 'posix_prefix'")
    return content


def wheel_package(path):
    """One wheel: for any platform if it says so, else for this one."""
    from pip._vendor.packaging.requirements import Requirement

    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        info = next(n for n in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))[:-len("METADATA")]
        metadata = email.parser.Parser().parsestr(wheel.read(info + "METADATA").decode())
        points = info + "entry_points.txt"
        scripts = console_scripts(wheel.read(points).decode()) if points in names else []
        noarch = path.name.endswith("-none-any.whl") and not any(".data/" in n for n in names)
        depends = ["python >=3.8" if noarch else "python %s.*" % SHORT]
        for text in metadata.get_all("Requires-Dist") or []:
            needed = Requirement(text)
            if not needed.marker or needed.marker.evaluate({"extra": ""}):
                depends.append(("%s %s" % (normalized(needed.name), needed.specifier)).strip())
        site = "site-packages/" if noarch else "lib/python%s/site-packages/" % SHORT
        package = Package(normalized(metadata["Name"]), metadata["Version"].replace("-", "_"), depends,
                          noarch, ["%s = %s" % pair for pair in scripts] if noarch else ())
        for name in names:
            if name.endswith("/"):
                continue
            mode = 0o755 if wheel.getinfo(name).external_attr >> 16 & 0o111 else 0o644
            content, target, placeholder = wheel.read(name), site + name, None
            data = re.fullmatch(r"[^/]+\.data/(\w+)/(.+)", name)
            if data:
                target = {"scripts": "bin/", "data": "", "headers": "include/"}.get(data[1], site) + data[2]
                if data[1] == "scripts" and content.startswith(b"#!python"):
                    line, rest = content.split(b"\n", 1)
                    content = b"#!" + PLACEHOLDER.encode() + b"/bin/python\n" + rest
                    placeholder = PLACEHOLDER
                mode = 0o755 if data[1] == "scripts" else mode
            package.file(target, content, mode, placeholder)
        package.file(site + info + "INSTALLER", b"conda\n")
        for name, entry_point in [] if noarch else scripts:
            package.script(name, entry_point)
    return package


def console_scripts(text):
    section, found = "", []
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line.strip("[]").strip()
        elif section == "console_scripts" and "=" in line:
            name, target = line.split("=", 1)
            found.append((name.strip(), target.split("[")[0].strip()))
    return found


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def add(directory, state, package):
    name, record = package.pack(directory)
    state["records"][name] = record


def write_repodata(directory, records):
    for subdir in ("linux-64", "noarch"):
        (directory / subdir).mkdir(exist_ok=True)
        packages = {name: r for name, r in sorted(records.items()) if r["subdir"] == subdir}
        repodata = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": packages,
                    "removed": [], "repodata_version": 1}
        replace(directory / subdir / "repodata.json", json.dumps(repodata, indent=1))


def replace(path, content):
    """Writes a file so that it is there whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
