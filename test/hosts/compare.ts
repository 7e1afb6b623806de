/** What must hold at the end of every run: volumes are what their mirrors are, and replicas are equal. */
import { closeSync, openSync, readSync } from 'node:fs';
import { within } from '../helpers/real-cluster.js';
import type { Guest } from './guest.js';
import type { Room } from './room.js';
import type { HostSheep } from './sheep.js';

const READ_BYTES = 1024 * 1024;
const CHECK_DEADLINE_MS = 120_000;

/** The guests rest. Reads every volume once through every sheep, then compares all replicas of all objects. */
export async function compareEverything(room: Room, guests: readonly Guest[]): Promise<void> {
  for (const guest of guests) {
    for (const sheep of room.sheep) if (sheep.running) await compareVolume(sheep, guest);
  }
  for (const { name } of await room.call('vdi.list', {})) await compareReplicas(room, name);
}

async function compareVolume(sheep: HostSheep, guest: Guest): Promise<void> {
  const { path, sizeBytes } = guest.oracle;
  const client = await sheep.openVolume(guest.volume);
  const mirror = openSync(path, 'r');
  try {
    const wanted = Buffer.alloc(READ_BYTES);
    for (let offset = 0; offset < sizeBytes; offset += READ_BYTES) {
      const length = Math.min(READ_BYTES, sizeBytes - offset);
      const found = await client.read(offset, length);
      readSync(mirror, wanted, 0, length, offset);
      if (found.equals(wanted.subarray(0, length))) continue;
      const at = found.findIndex((byte, i) => byte !== wanted[i]);
      throw new Error(
        `${guest.volume} through sheep ${sheep.index} differs at ${offset + at}: ` +
          `found ${found.toString('hex', at, at + 8)}, wanted ${wanted.toString('hex', at, at + 8)}`,
      );
    }
  } finally {
    closeSync(mirror);
    client.close();
  }
}

/** Copies may still be missing a moment after the cluster calls itself whole; in the end none may. */
export async function compareReplicas(room: Room, name: string): Promise<void> {
  await within(CHECK_DEADLINE_MS, `all replicas of ${name} are equal`, async () => {
    const { findings, unchecked, found } = await room.call('vdi.check', { name, mode: 'compare' });
    if (findings + unchecked === 0) return true;
    throw new Error(`${unchecked} unchecked, ${findings} wrong: ${JSON.stringify(found.slice(0, 3))}`);
  });
}
