// deadline: 300 s
/** A short absence costs what was written meanwhile, and nothing else (D-4, D-5). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { seeded } from '../helpers/mirror-oracle.js';
import type { NbdClient } from '../helpers/nbd-client.js';
import { BLOCK_BYTES, StampedVolume } from '../helpers/stamped-volume.js';
import { compareReplicas } from './compare.js';
import { hostTest } from './requires.js';
import { type Room, withRoom } from './room.js';

const MIB = 1024 * 1024;
const VOLUME_BYTES = 256 * MIB;
const OBJECT_BYTES = 4 * MIB;
const WRITE_BLOCKS = 4;
const WRITES_MS = 30_000;
const THINK_MS = 15;
/** Alone in its zone, so it holds a copy of everything. */
const ABSENT = 4;
/** What is said beside the data: lists and checksums of objects, leases, connections. */
const TALK_BYTES = 2 * MIB;
const TALK_BYTES_PER_OBJECT = 32 * 1024;

/** Where all objects of the volume lie, in words. */
async function places(room: Room): Promise<string> {
  const indexes = Array.from({ length: VOLUME_BYTES / OBJECT_BYTES }, (_, index) => index);
  const lines: string[] = [];
  for (const index of indexes) {
    const { oid, holders } = await room.call('vdi.object', { name: 'disk', index });
    lines.push(`${oid} ${holders.map(({ host }) => host).join(' ')}`);
  }
  return lines.join('\n');
}

/** Every block once, so that what is written later overwrites. */
async function fill(volume: StampedVolume, client: NbdClient): Promise<void> {
  const step = MIB / BLOCK_BYTES;
  for (let at = 0; at < volume.blocks; at += step) await volume.writeAt(client, at, step);
  await client.flush();
}

/** Small writes at random places; resolves with the places. */
async function writeSome(volume: StampedVolume, client: NbdClient): Promise<Set<number>> {
  const below = seeded(7);
  const written = new Set<number>();
  const endMs = performance.now() + WRITES_MS;
  while (performance.now() < endMs) {
    const at = below(volume.blocks - WRITE_BLOCKS);
    await volume.writeAt(client, at, WRITE_BLOCKS);
    for (let i = 0; i < WRITE_BLOCKS; i++) written.add(at + i);
    await sleep(systemClock, THINK_MS);
  }
  await client.flush();
  return written;
}

hostTest('a restart after 30 s of writes elsewhere moves what was written, and nothing is rebalanced', () =>
  withRoom({ zones: [0, 0, 1, 1, 2], copies: 3 }, async (room) => {
    const volume = new StampedVolume(VOLUME_BYTES / BLOCK_BYTES);
    await room.call('vdi.create', { name: 'disk', sizeBytes: VOLUME_BYTES });
    const client = await room.sheep[0]!.openVolume('disk');
    await fill(volume, client);
    const before = await places(room);
    await room.sheep[ABSENT]!.kill();
    const written = await writeSome(volume, client);
    assert.is(await places(room), before, 'an absence moves nothing');
    const { receivedBytes } = room.network.traffic(ABSENT);
    const sentBytes = room.network.sentBytes();
    await room.sheep[ABSENT]!.start();
    const healMs = await room.waitHealthy();
    const came = room.network.traffic(ABSENT).receivedBytes - receivedBytes;
    const wanted = written.size * BLOCK_BYTES;
    const objects = new Set([...written].map((block) => Math.floor((block * BLOCK_BYTES) / OBJECT_BYTES)))
      .size;
    const sent = room.network.sentBytes() - sentBytes;
    process.stdout.write(
      `written meanwhile: ${mib(wanted)} in ${objects} objects of ${mib(objects * OBJECT_BYTES)}; ` +
        `the sheep that came back received ${mib(came)}, all hosts together sent ${mib(sent)}; ` +
        `whole again after ${Math.round(healMs)} ms\n`,
    );
    const allowed = wanted * 1.05 + TALK_BYTES + objects * TALK_BYTES_PER_OBJECT;
    assert.ok(came >= wanted, `only ${mib(came)} came of ${mib(wanted)}`);
    assert.ok(came <= allowed, `${mib(came)} came, ${mib(allowed)} at most are right`);
    assert.is(await places(room), before, 'the return moves nothing');
    await sleep(systemClock, 3000);
    const later = room.network.sentBytes() - sentBytes - sent;
    assert.ok(later < TALK_BYTES, `${mib(later)} were moved after everything was whole`);
    client.close();
    for (const sheep of room.sheep) {
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
