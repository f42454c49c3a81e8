import json

for root in ("/root", "/home", "/var", "/etc", "/srv", "/opt", "/run", "/mnt", "/sys", "/tmp", "/boot", "/dev/shm"):
    for directory, folders, files in os.walk(root):
        for name in files[:50]:
            path = os.path.join(directory, name)
            if "python" not in path and "/pyenv/" not in path:
                attempt(path, lambda: open(path, "rb").read(1))
        del folders[20:]
        if len(directory) > 80:
            break
attempt("secret", lambda: open("/tmp/sandbox_canary/secret.txt").read())
attempt("shadow", lambda: open("/etc/shadow").read())
attempt("environment", lambda: [name for name in os.environ if "TOKEN" in name or "KEY" in name or "SECRET" in name])
json.dumps({})
report()
