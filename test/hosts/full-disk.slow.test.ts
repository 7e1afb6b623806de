// deadline: 500 s
/** A disk runs full while its sheep catches up: it waits, nothing is damaged, and goes on when there is room (I-8). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { seeded } from '../helpers/mirror-oracle.js';
import type { NbdClient } from '../helpers/nbd-client.js';
import { within } from '../helpers/real-cluster.js';
import { BLOCK_BYTES, StampedVolume } from '../helpers/stamped-volume.js';
import { compareReplicas } from './compare.js';
import { Register } from './register.js';
import { hostTest } from './requires.js';
import { type Room, type RoomOptions, withRoom } from './room.js';
import { freeBytes, giveRoom, mountSmallDisk, takeRoom } from './small-disk.js';

const MIB = 1024 * 1024;
/** Alone in its zone, so it holds a copy of everything. */
const FULL = 4;
const DISK_BYTES = 900 * MIB;
/** What is there from the beginning, and is written over all the time: that needs no room. */
const OLD_BLOCKS = (48 * MIB) / BLOCK_BYTES;
/** What is written while the sheep is away. */
const NEW_BLOCKS = (192 * MIB) / BLOCK_BYTES;
const STEP_BLOCKS = MIB / BLOCK_BYTES;
/** What a store keeps free of data, and half of what has to be recovered. */
const HALF_BYTES = (64 + 96) * MIB;
/** Recovered before the room goes. */
const BEGUN_BYTES = 48 * MIB;
const FULL_MS = 10_000;
const BEGUN_DEADLINE_MS = 60_000;
const options: RoomOptions = {
  zones: [0, 0, 1, 1, 2],
  copies: 3,
  prepare: (host) => host.index === FULL && mountSmallDisk(host, DISK_BYTES),
};

async function fill(volume: StampedVolume, client: NbdClient): Promise<void> {
  for (let at = 0; at < volume.blocks; at += STEP_BLOCKS) await volume.writeAt(client, at, STEP_BLOCKS);
  await client.flush();
}

/** Writes over what is there until it is told to stop, which throws what failed. */
function writeOver(volume: StampedVolume, client: NbdClient): { stop: () => Promise<void> } {
  const below = seeded(3);
  let done = false;
  let failure: unknown;
  const work = (async () => {
    while (!done) {
      await volume.writeSomewhere(client, below);
      await sleep(systemClock, 5);
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

/** `takeBefore`, `takeAfter`: what somebody else does to the disk before recovery begins, and when it is on its way. */
async function runFull(
  takeBefore: (room: Room) => void,
  takeAfter: (room: Room, startBytes: number) => Promise<void>,
): Promise<void> {
  await withRoom(options, async (room) => {
    const [old, fresh] = [new StampedVolume(OLD_BLOCKS), new StampedVolume(NEW_BLOCKS)];
    const volumes = [
      ['old', old],
      ['new', fresh],
    ] as const;
    for (const [name, { blocks }] of volumes)
      await room.call('vdi.create', { name, sizeBytes: blocks * BLOCK_BYTES });
    const client = await room.sheep[0]!.openVolume('old');
    await fill(old, client);
    const register = await Register.start(room, 20);
    const victim = room.sheep[FULL]!;
    await victim.kill();
    const filler = await room.sheep[1]!.openVolume('new');
    await fill(fresh, filler);
    filler.close();
    const load = writeOver(old, client);
    room.ends.push(() => client.close());
    takeBefore(room);
    const startBytes = freeBytes(victim.host);
    await victim.start();
    await takeAfter(room, startBytes);
    const acknowledged = old.acknowledgedWrites;
    await sleep(systemClock, FULL_MS);
    process.stdout.write(
      `full: ${await room.unwell()}; ${old.acknowledgedWrites - acknowledged} writes over old data in ${FULL_MS} ms, ` +
        `${Math.round(freeBytes(victim.host) / MIB)} MiB free\n`,
    );
    assert.ok(victim.running, 'the sheep with the full disk runs');
    giveRoom(victim.host);
    const healMs = await room.waitHealthy();
    process.stdout.write(`whole again ${Math.round(healMs)} ms after there was room\n`);
    await load.stop();
    client.close();
    await register.stop();
    for (const sheep of room.sheep) {
      for (const [name, volume] of volumes) {
        const reader = await sheep.openVolume(name);
        await volume.check(reader, `sheep ${sheep.index}`);
        reader.close();
      }
    }
    for (const [name] of volumes) await compareReplicas(room, name);
  });
}

hostTest(
  'recovery leaves a disk that is too small its reserve, and goes on when there is room',
  () =>
    runFull(
      (room) => takeRoom(room.hosts[FULL]!, HALF_BYTES),
      async () => {},
    ),
  'mkfs.ext4',
);

hostTest(
  'a disk that somebody else fills in mid-recovery damages nothing and ends nobody',
  () =>
    runFull(
      () => {},
      async (room, startBytes) => {
        const host = room.hosts[FULL]!;
        await within(
          BEGUN_DEADLINE_MS,
          'recovery has begun',
          () => startBytes - freeBytes(host) > BEGUN_BYTES,
        );
        takeRoom(host, 0);
      },
    ),
  'mkfs.ext4',
);

test.run();
