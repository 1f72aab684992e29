"""Pools of processes, started in every way there is, with what they share."""
import multiprocessing
from concurrent.futures import ProcessPoolExecutor


def square(x):
    return x * x


def add(counter, lock, queue):
    for _ in range(100):
        with lock:
            counter.value += 1
    queue.put("done")


def main():
    for method in ["fork", "spawn", "forkserver"]:
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            print(method, "pool", pool.map(square, range(5)))
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            print(method, "futures", list(pool.map(square, [5, 6])))
        counter, lock, queue = context.Value("i", 0, lock=False), context.Lock(), context.Queue()
        workers = [context.Process(target=add, args=(counter, lock, queue)) for _ in range(2)]
        for worker in workers:
            worker.start()
        words = [queue.get(timeout=30) for _ in workers]
        for worker in workers:
            worker.join()
        print(method, "lock and queue", counter.value, words, [worker.exitcode for worker in workers])
    with multiprocessing.Manager() as manager:
        shared = manager.dict(a=1)
        shared["b"] = 2
        print("manager", sorted(shared.items()))


if __name__ == "__main__":
    main()
