import socket

for family in range(1, 47):
    for kind in (1, 2, 3, 4, 5):
        attempt(f"socket {family} {kind}", lambda: call(41, family, kind, 0))
for family in (2, 10, 16, 38, 40):
    attempt(f"socketpair {family}", lambda: call(53, family, 1, 0, ctypes.create_string_buffer(8)))
one, other = socket.socketpair()
for address in ("/tmp/sandbox_canary_ray/session_latest/sockets/raylet", "\0sandbox_canary_abstract"):
    attempt(f"connect {address!r}", lambda: one.connect(address) or "connected")
    attempt(f"sendto {address!r}", lambda: one.sendto(b"x", address))
    attempt(f"sendmsg {address!r}", lambda: one.sendmsg([b"x"], [], 0, address))
attempt("bind", lambda: one.bind("/tmp/sandbox_canary/planted_socket") or "bound")
attempt("listen", lambda: one.listen() or "listens")
datagram, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
attempt("datagram", lambda: datagram.connect("/tmp/sandbox_canary_ray/session_latest/sockets/raylet_dgram") or "connected")
attempt("datagram", lambda: datagram.sendto(b"x", "/tmp/sandbox_canary_ray/session_latest/sockets/raylet_dgram"))
report()
