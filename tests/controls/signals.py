"""Signals and timers, as training that saves its state when it is told to end uses them."""
import os
import signal
import threading

seen = []
for number in [signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM, signal.SIGCHLD]:
    signal.signal(number, lambda number, _: seen.append(signal.Signals(number).name))
os.kill(os.getpid(), signal.SIGTERM)
signal.raise_signal(signal.SIGUSR1)
signal.setitimer(signal.ITIMER_REAL, 0.01)
while "SIGALRM" not in seen:
    signal.pause()
if (pid := os.fork()) == 0:
    os._exit(7)
_, status = os.waitpid(pid, 0)
print(seen, os.waitstatus_to_exitcode(status))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)
print("waited for", signal.sigtimedwait([signal.SIGUSR2], 30).si_signo == signal.SIGUSR2)
heard, said = os.pipe()
os.set_blocking(said, False)
signal.set_wakeup_fd(said)
os.kill(os.getpid(), signal.SIGUSR1)
print("wakes", os.read(heard, 1) == bytes([signal.SIGUSR1]))
