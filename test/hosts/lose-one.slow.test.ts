// deadline: 500 s
/** One of ten sheep never comes back: what lay on it is copied once, nothing else moves, clients go on (D-4, D-7). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { seeded } from '../helpers/mirror-oracle.js';
import type { NbdClient } from '../helpers/nbd-client.js';
import { BLOCK_BYTES, StampedVolume } from '../helpers/stamped-volume.js';
import { compareReplicas } from './compare.js';
import { Latencies } from './latencies.js';
import { hostTest } from './requires.js';
import { type Room, withRoom } from './room.js';

const MIB = 1024 * 1024;
const SHEEP = 10;
const COPIES = 3;
const LOST = 7;
const OBJECT_SHIFT = 20;
const OBJECTS = 240;
const VOLUME_BYTES = OBJECTS << OBJECT_SHIFT;
const DOWN_OUT_MS = 10_000;
const BEFORE_MS = 15_000;
const AFTER_MS = 5000;
const IDLE_MS = 4000;
const THINK_MS = 10;
/** Inodes, lists of objects, checksums, and the load, which is told from the rest only roughly. */
const TALK_BYTES = 16 * MIB;

/** Which hosts have each object. */
async function places(room: Room): Promise<string[][]> {
  const found: string[][] = [];
  for (let index = 0; index < OBJECTS; index++) {
    const { holders } = await room.call('vdi.object', { name: 'disk', index });
    found.push(holders.map(({ host }) => host));
  }
  return found;
}

/** What ten sheep say to each other when nobody wants anything. */
async function sentPerMs(room: Room): Promise<number> {
  const [startMs, startBytes] = [performance.now(), room.network.sentBytes()];
  await sleep(systemClock, IDLE_MS);
  return (room.network.sentBytes() - startBytes) / (performance.now() - startMs);
}

/** What sheep were given because they lacked it when objects were compared, since they started. */
async function givenBytes(room: Room): Promise<number> {
  let sum = 0;
  for (const sheep of room.sheep.filter(({ running }) => running)) {
    sum += (await sheep.counters()).sheepfold_recovery_moved_bytes_total ?? 0;
  }
  return sum;
}

/** A block read or written now and then, the time it took noted, until told to stop. */
function foreground(
  volume: StampedVolume,
  client: NbdClient,
  latencies: Latencies,
): { stop: () => Promise<void> } {
  const below = seeded(5);
  let done = false;
  let failure: unknown;
  const work = (async () => {
    while (!done) {
      const write = below(2) === 0;
      const block = below(volume.blocks);
      const startMs = performance.now();
      if (write) await volume.writeAt(client, block, 1);
      else await client.read(block * BLOCK_BYTES, BLOCK_BYTES);
      latencies.add(write ? 'write' : 'read', startMs, performance.now());
      await sleep(systemClock, THINK_MS);
    }
  })().catch((error: unknown) => {
    failure = error;
  });
  const stop = async () => {
    done = true;
    await work;
    if (failure !== undefined) throw failure;
  };
  return { stop };
}

/** The machine is busy with ten sheep; a kill is noticed by refused connections all the same. */
const sheepOptions = ['--lease-ttl-ms', '15000'];
const zones = Array.from({ length: SHEEP }, (_, zone) => zone);

hostTest('one of ten sheep is lost: what lay on it moves once, and nothing else', () =>
  withRoom({ zones, copies: COPIES, sheepOptions }, async (room) => {
    await room.call('cluster.settings', { downOutMs: DOWN_OUT_MS });
    await room.call('vdi.create', { name: 'disk', sizeBytes: VOLUME_BYTES, blockSizeShift: OBJECT_SHIFT });
    const volume = new StampedVolume(VOLUME_BYTES / BLOCK_BYTES);
    const client = await room.sheep[0]!.openVolume('disk');
    room.ends.push(() => client.close());
    for (let at = 0; at < volume.blocks; at += MIB / BLOCK_BYTES)
      await volume.writeAt(client, at, MIB / BLOCK_BYTES);
    await client.flush();
    const before = await places(room);
    const lostHost = room.hosts[LOST]!.address;
    const lostBytes = before.filter((holders) => holders.includes(lostHost)).length << OBJECT_SHIFT;

    const idleBytesPerMs = await sentPerMs(room);
    const latencies = new Latencies();
    const load = foreground(volume, client, latencies);
    const startMs = performance.now();
    const startBytes = room.network.sentBytes();
    await sleep(systemClock, BEFORE_MS);
    const loadBytes = room.network.sentBytes() - startBytes - idleBytesPerMs * (performance.now() - startMs);
    const bytesPerRequest = loadBytes / latencies.count(startMs);
    const killMs = performance.now();
    await room.sheep[LOST]!.kill();
    await sleep(systemClock, DOWN_OUT_MS / 2);
    const moveMs = performance.now();
    const moveBytes = room.network.sentBytes();
    await room.waitHealthy();
    const wholeMs = performance.now();
    const besideBytes = idleBytesPerMs * (wholeMs - moveMs) + bytesPerRequest * latencies.count(moveMs);
    const cableBytes = room.network.sentBytes() - moveBytes - besideBytes;
    const comparedBytes = await givenBytes(room);
    await sleep(systemClock, AFTER_MS);
    await load.stop();
    process.stdout.write(
      `lost ${mib(lostBytes)} of ${mib(VOLUME_BYTES * COPIES)}; moved ${mib(cableBytes)} by the counters of the ` +
        `cables, of which ${mib(comparedBytes)} by comparing objects; whole again ` +
        `${Math.round(wholeMs - killMs)} ms after the kill, ${DOWN_OUT_MS} ms of which were waited\n` +
        `before: ${latencies.say(startMs, killMs)}\nfrom the kill to the move: ${latencies.say(killMs, moveMs)}\n` +
        `moving: ${latencies.say(moveMs, wholeMs)}\nafter: ${latencies.say(wholeMs, Number.POSITIVE_INFINITY)}\n`,
    );
    const after = await places(room);
    for (const [index, holders] of before.entries()) {
      const stayed = holders.filter((host) => host !== lostHost);
      const now = after[index]!;
      assert.is(now.length, COPIES, `object ${index} has all its copies`);
      assert.ok(
        !now.includes(lostHost) && stayed.every((host) => now.includes(host)),
        `object ${index} stayed`,
      );
    }
    assert.ok(cableBytes >= lostBytes * 0.97, `only ${mib(cableBytes)} went over the cables`);
    assert.ok(cableBytes <= lostBytes * 1.05 + TALK_BYTES, `${mib(cableBytes)} went over the cables`);
    client.close();
    for (const sheep of room.sheep.filter(({ running }) => running)) {
      const reader = await sheep.openVolume('disk');
      await volume.check(reader, `sheep ${sheep.index}`);
      reader.close();
    }
    await compareReplicas(room, 'disk');
  }),
);

function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

test.run();
