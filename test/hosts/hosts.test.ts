// run: quick
// deadline: 240 s
/** A short form of the runs on many hosts; the whole is in the slow tests of this folder. */
import { test } from 'uvu';
import { bitsFlipped } from './damage.js';
import { allKilled, frozen, isolated, killed } from './faults.js';
import { runFaults } from './faults-run.js';
import { hostTest } from './requires.js';
import { withRoom } from './room.js';
import { runSplit } from './split-run.js';

/** Longer than a lease of 3 s. */
const LONG_MS = 7000;

hostTest(
  'four sheep on three zones with etcd ride out kills, a freeze, a cut and flipped bits',
  () =>
    withRoom({ zones: [0, 0, 1, 2], copies: 3, etcdOn: [0, 2, 3] }, (room) =>
      runFaults(
        room,
        [0],
        [killed(3, 1000), frozen(2, LONG_MS), isolated([3], LONG_MS), bitsFlipped(), allKilled(500)],
      ),
    ),
  'etcd',
  'qemu-storage-daemon',
);

hostTest(
  'a minority of one of three acknowledges nothing, and comes back',
  () =>
    runSplit({ room: { zones: [0, 1, 2], copies: 3, etcdOn: [0, 1, 2] }, losing: [[2]], winning: [0, 1] }),
  'etcd',
  'qemu-storage-daemon',
);

test.run();
