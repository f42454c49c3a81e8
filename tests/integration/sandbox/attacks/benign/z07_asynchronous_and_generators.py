import asyncio


async def twice(n):
    await asyncio.sleep(0.001)
    return 2 * n


async def main():
    return await asyncio.gather(*(twice(i) for i in range(5)))


def numbers():
    received = yield 1
    yield received


print(asyncio.run(main()))
generator = numbers()
print(next(generator), generator.send(7))
