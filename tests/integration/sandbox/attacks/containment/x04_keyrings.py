user, name, payload = b"user", b"planted", b"secret"
for keyring in (-1, -2, -3, -4, -5, -8):
    attempt(f"add_key to {keyring}", lambda: call(248, user, name, payload, len(payload), keyring))
    attempt(f"keyctl read {keyring}", lambda: call(250, 11, keyring, ctypes.create_string_buffer(256), 256))
    attempt(f"keyctl describe {keyring}", lambda: call(250, 6, keyring, ctypes.create_string_buffer(256), 256))
    attempt(f"request_key {keyring}", lambda: call(249, user, b"krb5cc", None, keyring))
attempt("keyctl join session", lambda: call(250, 1, None))
report()
