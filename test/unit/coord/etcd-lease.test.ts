import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/log.js';
import { EtcdLease } from '../../../src/coord/etcd/etcd-lease.js';
import { inSimulatedTime } from '../../helpers/coordinator-worlds.js';
import { SimClock } from '../../helpers/sim-clock.js';

const TTL_MS = 1000;

interface Scene {
  readonly clock: SimClock;
  readonly lease: EtcdLease;
  /** What etcd does with renewals. */
  answer: 'renewed' | 'gone' | 'none';
  delayMs: number;
  exists: boolean;
  lost: boolean;
  renewals: number;
}

/** A lease whose etcd answers as the scene says. */
function withLease(body: (scene: Scene) => Promise<void>): Promise<void> {
  const clock = new SimClock();
  const scene: Scene = {
    clock,
    ...{ answer: 'renewed', delayMs: 5, exists: true, lost: false, renewals: 0 },
    lease: new EtcdLease({
      ...{ clock, log: silentLogger, id: '1', ttlMs: TTL_MS, sentMs: clock.nowMs() },
      renew: async () => {
        scene.renewals++;
        await sleep(clock, scene.delayMs);
        if (scene.answer === 'none') throw new Error('no answer');
        return scene.answer === 'renewed';
      },
      exists: async () => scene.exists,
      end: async () => {},
      onLost: () => {
        scene.lost = true;
      },
    }),
  };
  return inSimulatedTime(clock, () => body(scene));
}

test('it is renewed several times in its time, and valid all along', async () => {
  await withLease(async ({ clock, lease }) => {
    for (let i = 0; i < 100; i++) {
      await sleep(clock, 50);
      const leftMs = lease.validUntilMs() - clock.nowMs();
      assert.ok(leftMs > TTL_MS / 2 && leftMs <= 0.9 * TTL_MS, `${leftMs}`);
    }
  });
});

test('an answer that comes late counts from when its question was sent', async () => {
  await withLease(async (scene) => {
    const { clock, lease } = scene;
    const startMs = clock.nowMs();
    scene.delayMs = 400;
    await sleep(clock, TTL_MS / 4 + 399);
    assert.is(lease.validUntilMs(), startMs + 900);
    await sleep(clock, 2);
    assert.is(lease.validUntilMs(), startMs + 250 + 900);
  });
});

test('without answers its validity passes, and the lease is not called lost', async () => {
  await withLease(async (scene) => {
    const { clock, lease } = scene;
    scene.answer = 'none';
    await sleep(clock, 20 * TTL_MS);
    assert.ok(lease.validUntilMs() < clock.nowMs());
    assert.not(scene.lost);
    assert.ok(scene.renewals > 50, 'it is tried all the time');
  });
});

test('a lease that lived on while etcd was away goes on when its keys are there', async () => {
  await withLease(async (scene) => {
    const { clock, lease } = scene;
    scene.answer = 'none';
    await sleep(clock, 5 * TTL_MS);
    scene.answer = 'renewed';
    await sleep(clock, 300);
    assert.ok(lease.validUntilMs() > clock.nowMs());
    assert.not(scene.lost);
  });
});

test('a renewal that comes too late proves nothing when the keys are gone', async () => {
  await withLease(async (scene) => {
    const { clock, lease } = scene;
    scene.answer = 'none';
    await sleep(clock, 2 * TTL_MS);
    const validMs = lease.validUntilMs();
    scene.answer = 'renewed';
    scene.exists = false;
    while (!scene.lost) {
      assert.is(lease.validUntilMs(), validMs, 'not valid for a moment');
      await sleep(clock, 1);
    }
    assert.is(lease.validUntilMs(), 0);
  });
});

test('a lease that etcd does not know any more is lost at once', async () => {
  await withLease(async (scene) => {
    scene.answer = 'gone';
    await sleep(scene.clock, TTL_MS / 4 + 6);
    assert.ok(scene.lost);
    await scene.lease.lost;
    const { renewals } = scene;
    await sleep(scene.clock, 5 * TTL_MS);
    assert.is(scene.renewals, renewals, 'and not renewed');
  });
});

test.run();
