"""Two processes that train one model by gloo on the loopback: distributed.py spawn|elastic"""
import os
import socket
import sys

import digits
import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def worker(rank):
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    data = digits.Digits()
    sampler = torch.utils.data.DistributedSampler(data, 2, rank, seed=0)
    batches = torch.utils.data.DataLoader(data, batch_size=64, sampler=sampler)
    model = torch.nn.parallel.DistributedDataParallel(digits.network())
    losses = list(digits.train(model, batches))
    total = torch.tensor([float(rank + 1)])
    torch.distributed.all_reduce(total)
    if rank == 0:
        print("sum", total.item(), "of", torch.distributed.get_world_size())
        digits.say(model.module, losses)
    torch.distributed.destroy_process_group()


def main():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    if "RANK" in os.environ:
        worker(int(os.environ["RANK"]))
    elif sys.argv[1] == "elastic":
        # What torchrun does, whose own options Debian's Python 3.11 cannot read.
        config = LaunchConfig(1, 1, 2, "digits", rdzv_backend="c10d", rdzv_endpoint=f"localhost:{port}")
        elastic_launch(config, sys.executable)(__file__, "elastic")
    else:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        torch.multiprocessing.spawn(worker, nprocs=2)


if __name__ == "__main__":
    main()
