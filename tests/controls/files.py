"""Files: temporary ones, databases, locks, and what checkpoints are made of."""
import fcntl
import mmap
import os
import shutil
import sqlite3
import tempfile

for place in [None, "/tmp", "/var/tmp", "/dev/shm"]:
    with tempfile.NamedTemporaryFile(dir=place) as file:
        print("temporary", place, file.write(b"x"), os.path.exists(file.name))
with tempfile.TemporaryDirectory(dir="/tmp") as directory:
    database = sqlite3.connect(f"{directory}/study.db")
    print("database", database.execute("PRAGMA journal_mode=WAL").fetchone())
    database.execute("CREATE TABLE study (value REAL)")
    with database:
        database.executemany("INSERT INTO study VALUES (?)", [(0.25,), (0.5,)])
    other = sqlite3.connect(f"{directory}/study.db")
    print("rows", other.execute("SELECT sum(value) FROM study").fetchone())
os.makedirs("outputs/checkpoints", exist_ok=True)
with open("outputs/checkpoints/new", "w+b") as file:
    os.posix_fallocate(file.fileno(), 0, 1 << 16)
    mapped = mmap.mmap(file.fileno(), 0)
    mapped[:4] = b"abcd"
    mapped.flush()
    os.fsync(file.fileno())
os.replace("outputs/checkpoints/new", "outputs/checkpoints/1")
directory = os.open("outputs/checkpoints", os.O_RDONLY)
os.fsync(directory)
print("checkpoint", os.pread(os.open("1", os.O_RDONLY, dir_fd=directory), 5, 0))
with open("lock", "w") as one, open("lock", "w") as other:
    fcntl.flock(one, fcntl.LOCK_EX)
    try:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("locked")
    fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
os.symlink("lock", "link")
os.link("lock", "hard")
os.mkfifo("fifo")
os.chmod("lock", 0o600)
os.utime("lock", (1, 2))
lock = os.stat("hard")
print("names", os.readlink("link"), lock.st_nlink, oct(lock.st_mode), lock.st_mtime)
shutil.copytree("outputs", "copy")
shutil.rmtree("copy")
nameless = os.open(".", os.O_TMPFILE | os.O_RDWR)
print("nameless", os.write(nameless, b"xy"))
print("space", shutil.disk_usage(".").free > 0)
