held = bytearray(200 << 20)
for offset in range(0, len(held), 4096):
    held[offset] = 1
print(len(held) >> 20)
