import os

for size in (1 << 20, 1 << 34, 1 << 40):
    try:
        os.ftruncate(1, size)
    except OSError:
        pass
try:
    os.pwrite(1, b"contained\n", 1 << 33)
except OSError:
    pass
print("contained")
