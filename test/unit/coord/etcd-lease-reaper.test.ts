import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep } from '../../../src/base/clock.js';
import { LeaseReaper } from '../../../src/coord/etcd/lease-reaper.js';
import { inSimulatedTime } from '../../helpers/coordinator-worlds.js';
import { SimClock } from '../../helpers/sim-clock.js';

const TTL_MS = 1000;

interface Scene {
  readonly clock: SimClock;
  readonly ended: string[];
  /** Lease `a` at this revision, heard of or not; 0: gone. */
  readonly show: (modRevision: number, isAlive: boolean) => void;
  failures: number;
}

function withReaper(body: (scene: Scene) => Promise<void>): Promise<void> {
  const clock = new SimClock();
  const reaper = new LeaseReaper(clock, async (id, modRevision) => {
    scene.ended.push(`${id}@${modRevision}`);
    if (scene.failures-- > 0) throw new Error('no answer');
  });
  const scene: Scene = {
    clock,
    ended: [],
    failures: 0,
    show: (modRevision, isAlive) => {
      const leases = modRevision === 0 ? [] : [['a', { ttlMs: TTL_MS, modRevision }] as const];
      reaper.update(new Map(leases), new Set(isAlive ? ['a'] : []));
    },
  };
  return inSimulatedTime(clock, () => body(scene));
}

test('a holder that is not heard of is given its ttl, from when that was seen', () =>
  withReaper(async ({ clock, ended, show }) => {
    show(1, true);
    await sleep(clock, 5 * TTL_MS);
    show(1, false);
    await sleep(clock, TTL_MS - 1);
    assert.equal(ended, []);
    await sleep(clock, 2);
    assert.equal(ended, ['a@1']);
  }));

test('what else changes meanwhile does not put it off', () =>
  withReaper(async ({ clock, ended, show }) => {
    for (let i = 0; i < 11; i++) {
      show(1, false);
      await sleep(clock, TTL_MS / 10);
    }
    assert.equal(ended, ['a@1']);
  }));

test('a holder that is heard of again starts anew when it falls silent', () =>
  withReaper(async ({ clock, ended, show }) => {
    show(1, false);
    await sleep(clock, TTL_MS - 100);
    show(2, true);
    await sleep(clock, TTL_MS);
    show(2, false);
    await sleep(clock, TTL_MS - 1);
    assert.equal(ended, []);
    await sleep(clock, 2);
    assert.equal(ended, ['a@2']);
  }));

test('a revival that was seen only by its revision counts as one', () =>
  withReaper(async ({ clock, ended, show }) => {
    show(1, false);
    await sleep(clock, TTL_MS - 100);
    show(2, false);
    await sleep(clock, TTL_MS - 1);
    assert.equal(ended, []);
    await sleep(clock, 2);
    assert.equal(ended, ['a@2']);
  }));

test('ending is tried again until the lease is gone', () =>
  withReaper(async (scene) => {
    const { clock, ended, show } = scene;
    scene.failures = 2;
    show(1, false);
    await sleep(clock, TTL_MS + 2500);
    assert.is(ended.length, 3);
    show(0, false);
    await sleep(clock, 5000);
    assert.is(ended.length, 3);
  }));

test.run();
