import mmap

held = []
try:
    for _ in range(100_000):
        area = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
        for offset in range(0, 1 << 20, 4096):
            area[offset] = 1
        held.append(area)
except (OSError, ValueError, MemoryError):
    pass
print("contained" if len(held) < 1100 else "PWNED")
