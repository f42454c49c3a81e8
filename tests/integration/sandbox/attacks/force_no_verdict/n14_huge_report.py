import os
import signal

for descriptor in (200, 201, 202, 203):
    try:
        os.write(descriptor, b"E" * 100)
    except OSError:
        pass
signal.raise_signal(signal.SIGXCPU)
