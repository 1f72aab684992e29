"""Other programs: their output, their end, and their groups."""
import asyncio
import ctypes
import os
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1

print("shell", subprocess.run("echo $((6 * 7)); exit 3", shell=True, capture_output=True))
print("input", subprocess.run(["sort"], input="b\na\n", text=True, capture_output=True).stdout.split())
print("python", subprocess.check_output([sys.executable, "-c", "print('inner')"]))
child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
os.killpg(child.pid, signal.SIGTERM)
print("group", child.wait(30))
try:
    subprocess.run(["sleep", "1000"], timeout=0.1)
except subprocess.TimeoutExpired:
    print("time limit")
print("spawned", os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1])


async def both():
    async def one(word):
        process = await asyncio.create_subprocess_exec("echo", word, stdout=subprocess.PIPE)
        return (await process.communicate())[0], process.returncode

    return await asyncio.gather(one("a"), one("b"))


print("asyncio", asyncio.run(both()))

# A worker that is to end with its parent, as data loaders' are.
heard, said = os.pipe()
if (parent := os.fork()) == 0:
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.write(said, b"up")
        signal.pause()
    os.read(heard, 2)
    os._exit(0)
os.waitpid(parent, 0)
os.close(said)
print("ended with its parent", os.read(heard, 2))
