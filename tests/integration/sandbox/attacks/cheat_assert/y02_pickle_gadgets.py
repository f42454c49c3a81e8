import os
import pickle


class Gadget:
    def __reduce__(self):
        return os.system, ("touch /tmp/sandbox_canary/planted",)

    def __reduce_ex__(self, protocol):
        return self.__reduce__()

    def __getstate__(self):
        raise SystemExit(0)

    def __deepcopy__(self, memo):
        return 93517

    __copy__ = __deepcopy__


class Text(str, Gadget):
    pass


def secret(n):
    return {"a": Gadget(), "b": Text("x"), "c": pickle.dumps(Gadget()), Gadget(): [Gadget()]}
