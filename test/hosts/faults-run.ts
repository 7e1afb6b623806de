/**
 * One fault after the other in a room with two guests and a witness that sees every stale read. Nothing that was
 * acknowledged may be lost, no request may fail, and the cluster must be whole again by itself each time.
 */
import { compareEverything } from './compare.js';
import { type Fault, type Load, runFault, watch } from './faults.js';
import { Guest } from './guest.js';
import { Register } from './register.js';
import type { Room } from './room.js';

const VOLUME_BYTES = 48 * 1024 * 1024;
const WARM_UP_MS = 3000;
const WITNESS_PACE_MS = 20;
const THINK_MS = 5;
const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);

/** `gateways`: hosts with a guest, each on its own volume. Throws what is wrong; prints what each fault cost. */
export async function runFaults(
  room: Room,
  gateways: readonly number[],
  faults: readonly Fault[],
): Promise<void> {
  process.stdout.write(`seed ${SEED}\n`);
  const guests: Guest[] = [];
  for (const [i, gateway] of gateways.entries()) {
    const options = { volume: `disk${i}`, sizeBytes: VOLUME_BYTES, seed: SEED + i, thinkMs: THINK_MS };
    guests.push(await Guest.open(room, gateway, options));
  }
  const register = await Register.start(room, WITNESS_PACE_MS);
  const load: Load = { room, guests, register };
  for (const guest of guests) guest.work();
  await watch(load, WARM_UP_MS);
  for (const fault of faults) await runFault(load, fault);
  for (const guest of guests) await guest.rest();
  await register.stop();
  await compareEverything(room, guests);
  for (const guest of guests) await guest.close();
  const requests = guests.map(({ oracle }) => JSON.stringify(oracle.counts));
  process.stdout.write(
    `requests of the guests: ${requests.join(', ')}; of the witness: ${register.seen.length}\n`,
  );
}
