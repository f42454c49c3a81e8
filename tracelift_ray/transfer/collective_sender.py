"""The learner's side of a weight broadcast over a collective."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from tracelift_ray.errors import TransferBroken
from tracelift_ray.transfer.buckets import joined, send
from tracelift_ray.transfer.collective import SENDER, Broadcasts, Communicator, device_for, open_store
from tracelift_ray.transfer.manifest import Channel, Sent, TensorSpec, WeightManifest
from tracelift_ray.transfer.senders import NamedTensors, SenderSettings, checked, named, own_address

MIB = 2**20


class CollectiveSender:
    """Broadcasts from rank 0. The channel stays open while the engines are the same and no transfer broke it."""

    def __init__(self, settings: SenderSettings) -> None:
        self._settings = settings
        self._address = settings.address or own_address()
        self._store = open_store(self._address, 0, settings.deadline_s, serves=True)
        self._keys = itertools.count()
        self._member: Communicator | None = None

    def describe(self, specs: Sequence[TensorSpec], version: int, receivers: Sequence[str] = ()) -> WeightManifest:
        settings = self._settings
        if self._member is None or self._member.channel.receivers != tuple(receivers):
            self.abort()
            key = str(next(self._keys))
            workers = settings.workers_per_receiver
            channel = Channel(self._address, self._store.port, settings.backend, key, tuple(receivers), workers)
            self._member = Communicator(self._store, channel, SENDER, settings.deadline_s, device_for(settings.backend))
        return WeightManifest(
            version,
            "collective",
            tuple(specs),
            "",
            settings.bucket_mib,
            simultaneous=True,
            deadline_s=settings.deadline_s,
            channel=self._member.channel,
        )

    def send(self, manifest: WeightManifest, tensors: NamedTensors) -> Sent:
        member = self._member
        if member is None or member.channel != manifest.channel:
            raise TransferBroken("weights", "the transfer was given up before it began")
        member.renew(manifest.deadline_s)
        try:
            member.open()
            bucket_bytes = manifest.bucket_mib * MIB
            stream = named(checked(manifest, tensors))
            return Sent(joined(send(Broadcasts(member, bucket_bytes), manifest.tensors, stream, bucket_bytes)))
        except BaseException:  # receivers that wait for the rest learn of it; the error propagates
            self.abort()
            raise

    def release(self, version: int) -> None:
        pass

    def abort(self) -> None:
        member, self._member = self._member, None
        if member is not None:
            member.close()

    def close(self) -> None:
        self.abort()
