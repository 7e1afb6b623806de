// run: quick
// deadline: 120 s
/**
 * Three hosts on two networks, the second one for traffic between sheep. No cut keeps anybody from the coordinator, so
 * no lease ends by itself: what does not reach must be found by the traffic that uses it.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { NbdClient } from '../helpers/nbd-client.js';
import { within } from '../helpers/real-cluster.js';
import { hostTest } from '../hosts/requires.js';
import { type Room, withRoom } from '../hosts/room.js';

const MIB = 1024 * 1024;
const VOLUME_BYTES = 64 * MIB;
const [MAIN, IO] = [0, 1];
const options = { zones: [0, 1, 2], copies: 3, ioNetwork: true, sheepOptions: ['--lease-ttl-ms', '2000'] };

/** Milliseconds that a write and a flush of everything take. */
async function writeAll(volume: NbdClient, value: number): Promise<number> {
  const startMs = performance.now();
  const data = Buffer.alloc(MIB, value);
  for (let offset = 0; offset < VOLUME_BYTES; offset += 4 * MIB) await volume.write(offset, data);
  await volume.flush();
  return performance.now() - startMs;
}

function sent(room: Room, network: number): number {
  return room.hosts.reduce((sum, host) => sum + room.network.traffic(host.index, network).sentBytes, 0);
}

function logged(room: Room, text: string): number {
  return room.sheep.reduce((sum, one) => sum + one.log.split(text).length - 1, 0);
}

async function openVolume(room: Room): Promise<NbdClient> {
  await room.call('vdi.create', { name: 'v', sizeBytes: VOLUME_BYTES });
  return room.sheep[2]!.openVolume('v');
}

hostTest('traffic between sheep takes the I/O network, and the main one while that is broken', () =>
  withRoom(options, async (room) => {
    const volume = await openVolume(room);
    const before = [sent(room, MAIN), sent(room, IO)];
    await writeAll(volume, 1);
    assert.ok(sent(room, IO) - before[IO]! > 32 * MIB, 'both other copies go over the I/O network');
    assert.ok(sent(room, MAIN) - before[MAIN]! < MIB, 'and nothing over the main one');

    room.network.cut([0], [1], [MAIN]);
    assert.ok((await writeAll(volume, 1)) < 3000, 'the main network is not missed');
    room.network.heal();

    room.network.isolate([0], [IO]);
    const stallMs = await writeAll(volume, 2);
    assert.ok(stallMs < 6000, `a stall of ${stallMs} ms`);
    assert.ok(logged(room, 'the main network is used') >= 2, 'both ends say so');
    assert.is(await room.unwell(), '');

    room.network.heal();
    await within(30_000, 'all are back on the I/O network', () => {
      const changes = logged(room, 'the main network is used');
      return logged(room, 'the I/O network to this node is used again') === changes;
    });
    const after = sent(room, IO);
    await writeAll(volume, 3);
    assert.ok(sent(room, IO) - after > 32 * MIB, 'the I/O network is used again');
    assert.is(logged(room, 'steps aside'), 0);
    await volume.close();
  }),
);

hostTest('two sheep without any connection: one steps aside, the rest goes on, and it returns', () =>
  withRoom(options, async (room) => {
    const volume = await openVolume(room);
    await writeAll(volume, 1);
    room.network.cutOneWay([0], [1]);
    const stallMs = await writeAll(volume, 2);
    assert.ok(stallMs < 12_000, `a stall of ${stallMs} ms`);
    process.stdout.write(`one step aside: longest write and flush ${Math.round(stallMs)} ms\n`);
    assert.is(logged(room, 'steps aside'), 1);
    assert.ok((await writeAll(volume, 3)) < 3000);
    room.network.heal();
    const healMs = await room.waitHealthy(30_000);
    process.stdout.write(`whole again ${Math.round(healMs)} ms after the network\n`);
    assert.is(logged(room, 'takes its place in the cluster again'), 1);
    await volume.close();
  }),
);

test.run();
