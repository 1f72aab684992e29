"""Threads, and where and how urgently they run."""
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

with ThreadPoolExecutor(16) as pool:
    print("pool", sum(pool.map(lambda x: x * x, range(1000))))
barrier, local, seen = threading.Barrier(8), threading.local(), set()


def meet(number):
    local.number = number
    barrier.wait(30)
    seen.add(local.number)


threads = [threading.Thread(target=meet, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("barrier", sorted(seen))
cores = os.sched_getaffinity(0)
os.sched_setaffinity(0, {min(cores)})
print("cores", len(cores), os.sched_getaffinity(0) == {min(cores)}, os.cpu_count())
os.setpriority(os.PRIO_PROCESS, 0, 5)
print("priority", os.getpriority(os.PRIO_PROCESS, 0))
begun = time.monotonic()
time.sleep(0.01)
print("time", 0.01 <= time.monotonic() - begun < 30, time.thread_time() > 0)
