// deadline: 900 s
import { test } from 'uvu';
import { compareEverything } from './compare.js';
import {
  allKilled,
  allRebooted,
  frozen,
  isolated,
  killed,
  oneWay,
  runFault,
  slowLink,
  twoWay,
  watch,
} from './faults.js';
import { Guest } from './guest.js';
import { Register } from './register.js';
import { withRoom } from './room.js';

const MIB = 1024 * 1024;
test('five sheep', () =>
  withRoom(
    { zones: [0, 0, 1, 1, 2], copies: 3, ...(process.env.ETCD === '1' && { etcdOn: [0, 2, 4] }) },
    async (room) => {
      const guests = [
        await Guest.open(room, 0, { volume: 'first', sizeBytes: 48 * MIB, seed: 1, thinkMs: 5 }),
        await Guest.open(room, 3, { volume: 'second', sizeBytes: 48 * MIB, seed: 2, thinkMs: 5 }),
      ];
      const register = await Register.start(room, 20);
      const load = { room, guests, register };
      for (const guest of guests) guest.work();
      await watch(load, 3000);
      const faults = [
        killed(1, 2000),
        frozen(2, 6000),
        killed(0, 1000),
        slowLink(4, 5000),
        allKilled(500),
        allRebooted(500),
        oneWay([1], [3], 6000),
        twoWay([1], [3], 6000),
        isolated([4], 6000),
      ];
      for (const fault of faults.slice(Number(process.env.FROM ?? 0))) await runFault(load, fault);
      for (const guest of guests) await guest.rest();
      await register.stop();
      await compareEverything(room, guests);
      for (const guest of guests) await guest.close();
      process.stdout.write(JSON.stringify(guests.map((g) => g.oracle.counts)) + `${register.seen.length}\n`);
    },
  ));
test.run();
