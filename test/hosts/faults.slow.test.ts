// deadline: 1200 s
/**
 * One fault after the other on five hosts in three zones, with two guests and a witness that sees every stale read.
 * Nothing that was acknowledged is lost, no request fails, and the cluster is whole again by itself each time.
 */
import { test } from 'uvu';
import { compareEverything } from './compare.js';
import { bitsFlipped, storeDeleted } from './damage.js';
import {
  allKilled,
  allRebooted,
  type Fault,
  frozen,
  isolated,
  killed,
  type Load,
  oneWay,
  runFault,
  slowLink,
  twoWay,
  watch,
} from './faults.js';
import { Guest } from './guest.js';
import { Register } from './register.js';
import { hostTest } from './requires.js';
import { type Room, withRoom } from './room.js';

const MIB = 1024 * 1024;
const ZONES = [0, 0, 1, 1, 2];
const ETCD_ON = [0, 2, 4];
const WARM_UP_MS = 3000;
/** Longer than a lease of 3 s. */
const LONG_MS = 8000;
const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);

async function runFaults(room: Room, faults: readonly Fault[]): Promise<void> {
  process.stdout.write(`seed ${SEED}\n`);
  const guests: Guest[] = [];
  for (const [i, gateway] of [0, 3].entries()) {
    const options = { volume: `disk${i}`, sizeBytes: 48 * MIB, seed: SEED + i, thinkMs: 5 };
    guests.push(await Guest.open(room, gateway, options));
  }
  const register = await Register.start(room, 20);
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

/** Between hosts that all keep the coordinator in sight: they must find out by themselves. */
const cuts: readonly Fault[] = [
  oneWay([1], [3], LONG_MS),
  oneWay([3], [1], LONG_MS),
  twoWay([1], [3], LONG_MS),
  twoWay([0], [3], LONG_MS),
];

hostTest(
  'five sheep on three zones with etcd ride out every fault',
  () =>
    withRoom({ zones: ZONES, copies: 3, etcdOn: ETCD_ON }, (room) =>
      runFaults(room, [
        killed(1, 2000),
        killed(0, 1000),
        ...cuts,
        // A sheep without a member of etcd, one with it and a guest's gateway, and a whole zone.
        isolated([1], LONG_MS),
        isolated([0], LONG_MS),
        isolated([2, 3], LONG_MS),
        slowLink(4, LONG_MS),
        frozen(2, LONG_MS),
        frozen(3, LONG_MS),
        bitsFlipped(0),
        allKilled(1000),
        allRebooted(1000),
        storeDeleted(1, LONG_MS),
      ]),
    ),
  'etcd',
  'qemu-storage-daemon',
);

hostTest(
  'cuts of which the coordinator notices nothing end by themselves',
  () =>
    withRoom({ zones: ZONES, copies: 3 }, (room) =>
      runFaults(room, [...cuts, isolated([4], LONG_MS), isolated([0], LONG_MS)]),
    ),
  'qemu-storage-daemon',
);

test.run();
