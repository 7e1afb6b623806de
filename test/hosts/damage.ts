/** Damage to what lies on the disk of a sheep that runs: bits that flip, directories that go. */
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readdirSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { within } from '../helpers/real-cluster.js';
import { compareReplicas } from './compare.js';
import type { Fault } from './faults.js';
import type { Room } from './room.js';
import type { HostSheep } from './sheep.js';

const BLOCK_BYTES = 4096;
const FLIPS = 5;
const NOTICE_DEADLINE_MS = 60_000;
const DOWN_OUT_MS = 10_000;
/** Two leases of 3 s: nobody is sent away for an earlier fault any more, who would then get his blocks from others. */
const STEADY_MS = 6000;
const STILL = 'still';
const STILL_BYTES = 4 * 1024 * 1024;

/** The file with the data of an object in a sheep's store. */
function objectFile(sheep: HostSheep, oid: string): string {
  const store = join(sheep.dir, 'store');
  const found = readdirSync(store, { recursive: true, encoding: 'utf8' }).find((name) => name.endsWith(oid));
  if (found === undefined) throw new Error(`sheep ${sheep.index} has no object ${oid}`);
  return join(store, found);
}

/** Flips one bit in each of these blocks. */
function flip(path: string, blocks: readonly number[]): void {
  const file = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  for (const block of blocks) {
    const at = block * BLOCK_BYTES + 1000;
    readSync(file, byte, 0, 1, at);
    writeSync(file, Buffer.from([byte[0]! ^ 0x10]), 0, 1, at);
  }
  closeSync(file);
}

/**
 * A volume that nobody writes to any more, with damage to every replica, to other blocks of each. It is read through
 * every sheep and must be what was written; then it is checked, and must be right on all (I-7).
 */
export function bitsFlipped(): Fault {
  return {
    name: `bits flipped in ${FLIPS} blocks of every replica`,
    async begin(room) {
      await room.waitSteady(STEADY_MS);
      const wanted = randomBytes(STILL_BYTES);
      await room.call('vdi.create', { name: STILL, sizeBytes: STILL_BYTES });
      const client = await room.sheep[0]!.openVolume(STILL);
      await client.write(0, wanted);
      await client.flush();
      client.close();
      const before = await checksumErrors(room);
      const { oid, holders } = await room.call('vdi.object', { name: STILL, index: 0 });
      for (const [place, { host }] of holders.entries()) {
        const sheep = room.sheep.find((one) => one.host.address === host)!;
        const blocks = Array.from({ length: FLIPS }, (_, i) => 7 * (i * holders.length + place));
        flip(objectFile(sheep, oid), blocks);
      }
      for (const sheep of room.sheep) {
        const reader = await sheep.openVolume(STILL);
        const found = await reader.read(0, STILL_BYTES);
        reader.close();
        if (!found.equals(wanted)) throw new Error(`flipped bits were read through sheep ${sheep.index}`);
      }
      await room.call('vdi.check', { name: STILL, mode: 'repair' });
      const seen = (await checksumErrors(room)) - before;
      const flipped = FLIPS * holders.length;
      if (seen < flipped) throw new Error(`of ${flipped} blocks with flipped bits ${seen} were noticed`);
    },
    holdMs: 0,
    end: (room) => compareReplicas(room, STILL),
  };
}

/** Sum of the blocks that did not match their checksums, over all sheep since they started. */
async function checksumErrors(room: Room): Promise<number> {
  let sum = 0;
  for (const sheep of room.sheep) {
    sum += (await sheep.counters()).sheepfold_store_checksum_errors_total ?? 0;
  }
  return sum;
}

/**
 * `rm -rf` of everything a sheep has, while it runs. It must notice and end by itself; its host starts it again with an
 * empty disk, as a new member, and the one that is gone for ever is given up after a while.
 */
export function storeDeleted(host: number): Fault {
  return {
    name: `directory of sheep ${host} deleted`,
    async begin(room) {
      await room.call('cluster.settings', { downOutMs: DOWN_OUT_MS });
      const sheep = room.sheep[host]!;
      rmSync(sheep.dir, { recursive: true, force: true });
      await within(
        NOTICE_DEADLINE_MS,
        `sheep ${host} notices that its directory is gone`,
        () => !sheep.running,
      );
    },
    holdMs: 0,
    end: (room) => room.startSheep(),
  };
}
