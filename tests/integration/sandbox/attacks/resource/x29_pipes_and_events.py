import os

held = []
try:
    while True:
        held.extend(os.pipe())
        os.write(held[-1], b"x" * 60000)
except OSError:
    pass
import fcntl

try:
    grown = fcntl.fcntl(held[0], 1031, 1 << 24)
except OSError:
    grown = 0
print("contained" if len(held) < 1000 and grown < 1 << 21 else f"PWNED {len(held)} {grown}")
