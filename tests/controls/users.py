"""Who and where a script is: user, home, language, time, certificates."""
import getpass
import grp
import locale
import os
import platform
import pwd
import ssl
import subprocess
import time
import uuid

print("user", pwd.getpwuid(os.getuid()).pw_name == getpass.getuser(), os.getuid())
print("group", grp.getgrgid(os.getgid()).gr_name)
print("id", subprocess.run(["id", "-un"], capture_output=True, text=True).stdout)
print("home", os.access(os.path.expanduser("~"), os.W_OK))
print("locale", locale.setlocale(locale.LC_ALL, "C.UTF-8"), locale.getpreferredencoding(), "é".encode())
print("time", time.strftime("%Y %z %Z", time.localtime(0)))
print("platform", platform.system(), platform.machine(), platform.libc_ver())
print("memory", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
print("certificates", ssl.create_default_context().cert_store_stats()["x509_ca"] > 0)
print("random", len(os.urandom(16)), len(str(uuid.uuid4())))
