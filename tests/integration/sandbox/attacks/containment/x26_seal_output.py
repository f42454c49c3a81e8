import fcntl
import os

os.write(1, b"contained\n")
for seals in (1, 2, 4, 8, 16, 32):
    try:
        fcntl.fcntl(1, 1033, seals)
    except OSError:
        pass
try:
    os.close(1)
    os.close(2)
    os.close(0)
except OSError:
    pass
