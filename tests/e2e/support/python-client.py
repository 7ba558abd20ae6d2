"""python-socketio as a foreign client: connects as its arguments say, and prints one line of JSON for each try.

    python-client.py URL TOKEN TRANSPORT TRIES
"""
import asyncio
import json
import sys

import socketio

# A refused client that waits for its poll waits for the next ping, 25 s.
PATIENCE = 10


async def attempt(url, token, transport):
    client = socketio.AsyncClient(reconnection=False)
    refusals = []
    client.on('connect_error', lambda data: refusals.append(data))
    try:
        await asyncio.wait_for(client.connect(url, auth={'token': token}, transports=[transport], wait_timeout=5), PATIENCE)
    except asyncio.TimeoutError:
        return {'outcome': 'hangs', 'refusals': refusals}
    except socketio.exceptions.ConnectionError:
        return {'outcome': 'refused', 'refusals': refusals}
    answer = await client.call('session:ping', {'t': 1}, timeout=PATIENCE)
    await asyncio.wait_for(client.disconnect(), PATIENCE)
    return {'outcome': 'connected', 'answer': answer}


async def main(url, token, transport, tries):
    for _ in range(int(tries)):
        print(json.dumps(await attempt(url, token, transport)), flush=True)


asyncio.run(main(*sys.argv[1:]))
