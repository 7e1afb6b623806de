// deadline: 1200 s
/** Every fault there is, on five hosts in three zones (I-1, I-2, I-3, I-5, I-7). */
import { test } from 'uvu';
import { bitsFlipped, storeDeleted } from './damage.js';
import {
  allKilled,
  allRebooted,
  type Fault,
  frozen,
  isolated,
  killed,
  oneWay,
  slowLink,
  twoWay,
} from './faults.js';
import { runFaults } from './faults-run.js';
import { hostTest } from './requires.js';
import { withRoom } from './room.js';

const ZONES = [0, 0, 1, 1, 2];
const ETCD_ON = [0, 2, 4];
const GATEWAYS = [0, 3];
/** Longer than a lease of 3 s. */
const LONG_MS = 8000;
/** Sheep that lost sight of each other, but not of the coordinator, take their time before one of them steps aside. */
const CUT_MS = 15_000;

/** Between hosts that all keep the coordinator in sight: they must find out by themselves. */
const cuts: readonly Fault[] = [
  oneWay([1], [3], CUT_MS),
  oneWay([3], [1], CUT_MS),
  twoWay([1], [3], CUT_MS),
  twoWay([0], [3], CUT_MS),
];

hostTest(
  'five sheep on three zones with etcd ride out every fault',
  () =>
    withRoom({ zones: ZONES, copies: 3, etcdOn: ETCD_ON }, (room) =>
      runFaults(room, GATEWAYS, [
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
        bitsFlipped(),
        allKilled(1000),
        allRebooted(1000),
        storeDeleted(1),
      ]),
    ),
  'etcd',
  'qemu-storage-daemon',
);

hostTest(
  'cuts of which the coordinator notices nothing end by themselves',
  () =>
    withRoom({ zones: ZONES, copies: 3 }, (room) =>
      runFaults(room, GATEWAYS, [...cuts, isolated([4], CUT_MS), isolated([0], CUT_MS)]),
    ),
  'qemu-storage-daemon',
);

test.run();
