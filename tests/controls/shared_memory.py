"""Memory that processes share: segments by name, files of /dev/shm, and memory without a name."""
import mmap
import multiprocessing
import os
from multiprocessing import shared_memory


def write(name, place):
    memory = shared_memory.SharedMemory(name)
    memory.buf[place] = 40 + place
    memory.close()


def main():
    for method in ["fork", "spawn"]:
        memory = shared_memory.SharedMemory(create=True, size=1 << 20)
        context = multiprocessing.get_context(method)
        workers = [context.Process(target=write, args=(memory.name, place)) for place in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print(method, "segment", list(memory.buf[:3]))
        memory.close()
        memory.unlink()
    # As torch hands tensors on by the strategy file_system: made, mapped, renamed and unlinked.
    name = f"/dev/shm/tensor{os.getpid()}"
    with open(f"{name}.new", "w+b") as file:
        file.truncate(1 << 16)
        mapped = mmap.mmap(file.fileno(), 1 << 16)
    os.rename(f"{name}.new", name)
    mapped[0] = 7
    with open(name, "rb") as file:
        print("file", file.read(2))
    os.unlink(name)
    nameless = mmap.mmap(-1, 1 << 16)
    if (pid := os.fork()) == 0:
        nameless[0] = 9
        os._exit(0)
    os.waitpid(pid, 0)
    print("nameless", nameless[0])


if __name__ == "__main__":
    main()
