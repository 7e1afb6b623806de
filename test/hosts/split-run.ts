/** A side without a majority of the coordinator acknowledges nothing, and comes back without help (I-3). */
import * as assert from 'uvu/assert';
import { within } from '../helpers/real-cluster.js';
import { compareEverything } from './compare.js';
import { type Load, watch } from './faults.js';
import { Guest } from './guest.js';
import { Register } from './register.js';
import { type RoomOptions, withRoom } from './room.js';

const MIB = 1024 * 1024;
const LEASE_TTL_MS = 3000;
/** For an answer that was on its way when the lease ended, on a busy machine. */
const ANSWER_MS = 500;
const WARM_UP_MS = 3000;
const SPLIT_MS = 12_000;
const PROGRESS_DEADLINE_MS = 60_000;
const PACE_MS = 20;

export interface Split {
  readonly room: RoomOptions;
  /** The sides that lose, each cut from all other hosts. */
  readonly losing: readonly (readonly number[])[];
  readonly winning: readonly number[];
}

/** Throws when a losing side acknowledges anything, or does not come back. */
export async function runSplit({ room: options, losing, winning }: Split): Promise<void> {
  await withRoom({ ...options, sheepOptions: ['--lease-ttl-ms', String(LEASE_TTL_MS)] }, async (room) => {
    // A guest on each side: one goes on, or all wait; none sees an error.
    const gateways = [losing[0]![0]!, winning[0] ?? losing[1]![0]!];
    const guests: Guest[] = [];
    for (const [i, gateway] of gateways.entries()) {
      guests.push(
        await Guest.open(room, gateway, { volume: `disk${i}`, sizeBytes: 32 * MIB, seed: i, thinkMs: 5 }),
      );
    }
    const register = await Register.start(room, PACE_MS);
    const load: Load = { room, guests, register };
    for (const guest of guests) guest.work();
    await watch(load, WARM_UP_MS);

    const splitMs = performance.now();
    for (const side of losing) room.network.isolate(side);
    await watch(load, SPLIT_MS);
    if (winning.length > 0) {
      const fromMs = performance.now();
      await within(PROGRESS_DEADLINE_MS, 'the majority goes on', () => {
        return register.count('write', winning, fromMs, performance.now()) > 0;
      });
    }
    const healedMs = performance.now();
    room.network.heal();
    const healMs = await room.waitHealthy();
    await within(PROGRESS_DEADLINE_MS, 'all sheep serve writes again', () =>
      room.sheep.every(({ index }) => register.count('write', [index], healedMs, performance.now()) > 0),
    );
    const servedMs = performance.now() - healedMs;
    await watch(load, 1000);

    const all = losing.flat();
    const lateMs = splitMs + LEASE_TTL_MS + ANSWER_MS;
    const late = {
      writes: register.count('write', all, lateMs, healedMs),
      reads: register.count('read', all, lateMs, healedMs),
    };
    const won = register.count('write', winning, lateMs, healedMs);
    const sides = `${losing.map((side) => side.join(' ')).join(' | ')} from ${winning.join(' ') || 'each other'}`;
    process.stdout.write(
      `split ${sides} for ${Math.round(healedMs - splitMs)} ms: losers acknowledged ${late.writes} writes and ` +
        `answered ${late.reads} reads after their leases; ${won} writes of the winners; ` +
        `whole again ${Math.round(healMs)} ms after the end, all serve after ${Math.round(servedMs)} ms\n`,
    );
    assert.equal(late, { writes: 0, reads: 0 });
    for (const guest of guests) await guest.rest();
    await register.stop();
    await compareEverything(room, guests);
    for (const guest of guests) await guest.close();
  });
}
