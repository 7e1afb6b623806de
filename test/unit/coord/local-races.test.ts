import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Clock, Timer } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/log.js';
import { SeededRandom } from '../../../src/base/random.js';
import { KeyValueState } from '../../../src/coord/key-value-state.js';
import { adoptGeneration, openNewest } from '../../../src/coord/local/generations.js';
import { HeldLease } from '../../../src/coord/local/held-lease.js';
import { encodeLeaseStamp } from '../../../src/coord/local/lease-file.js';
import { LeaseJudge } from '../../../src/coord/local/lease-judge.js';
import { installGeneration, LogFile } from '../../../src/coord/local/log-file.js';
import { put } from '../../helpers/coordinator-suite.js';
import { inSimulatedTime } from '../../helpers/coordinator-worlds.js';
import { FakeDisk } from '../../helpers/fake-disk.js';
import { SimClock } from '../../helpers/sim-clock.js';

/** Freezes that fall between two instructions, which the clock of a whole process cannot show. */

const TTL_MS = 400;

/** Time that the test moves; timers run when told. */
class ManualClock implements Clock {
  timeMs = 1000;
  readonly timers: { atMs: number; run: () => void }[] = [];

  nowMs(): number {
    return this.timeMs;
  }
  wallMs(): number {
    return this.timeMs;
  }
  after(delayMs: number, run: () => void): Timer {
    const timer = { atMs: this.timeMs + delayMs, run };
    this.timers.push(timer);
    return { cancel: () => void (timer.run = () => {}) };
  }
  defer(run: () => void): void {
    setImmediate(run);
  }
  /** Runs the timers due, in the order in which they were made: renewals before ends. */
  advanceTo(timeMs: number): void {
    this.timeMs = timeMs;
    for (const timer of this.timers.splice(0)) {
      if (timer.atMs <= timeMs) timer.run();
      else this.timers.push(timer);
    }
  }
}

interface Holding {
  readonly clock: ManualClock;
  readonly disk: FakeDisk;
  readonly lease: HeldLease;
  readonly expired: string[];
}

function hold(): Holding {
  const clock = new ManualClock();
  const disk = new FakeDisk({ clock, random: new SeededRandom(1) });
  disk.mkdir('coord/leases');
  const expired: string[] = [];
  const lease = new HeldLease({
    disk,
    clock,
    log: silentLogger,
    folder: 'coord',
    id: 'l',
    ttlMs: TTL_MS,
    holder: 'h',
    expire: async (reason) => void expired.push(reason),
    onLost: () => {},
  });
  lease.start();
  return { clock, disk, lease, expired };
}

test('a renewal counts from before it was written', () => {
  const { clock, disk, lease } = hold();
  disk.onOp = (op) => {
    if (op.kind === 'write') clock.timeMs += 50;
    return undefined;
  };
  clock.advanceTo(1100);
  assert.is(lease.validUntilMs(), 1100 + TTL_MS * 0.9);
});

test('a holder frozen between the time and the write of its renewal gives the lease up', () => {
  const { clock, disk, lease, expired } = hold();
  disk.onOp = (op) => {
    if (op.kind === 'write') clock.timeMs = 1000 + TTL_MS + 1;
    return undefined;
  };
  clock.advanceTo(1100);
  assert.is(lease.validUntilMs(), 0);
  assert.equal(expired, ['given up: its renewal took too long']);
});

test('a holder whose renewal is due too late writes nothing', () => {
  const { clock, disk, lease, expired } = hold();
  let written = 0;
  disk.onOp = (op) => {
    if (op.kind === 'write') written++;
    return undefined;
  };
  clock.advanceTo(1000 + TTL_MS * 0.9);
  assert.is(written, 0);
  assert.is(lease.validUntilMs(), 0);
  assert.equal(expired, ['given up: its renewal came too late']);
});

test('a judge frozen before it reads the stamp does not judge by the time after', () => {
  const clock = new ManualClock();
  const disk = new FakeDisk({ clock, random: new SeededRandom(1) });
  disk.mkdir('coord/leases');
  const stamp = encodeLeaseStamp({ renewedMs: 1000, ttlMs: TTL_MS, holder: 'h' });
  disk.open('coord/leases/l', { create: true }).write([stamp], 0);
  const expired: string[] = [];
  const judge = new LeaseJudge({
    disk,
    clock,
    folder: 'coord',
    processes: { selfIdentity: () => 'me', liveness: () => 'alive', isListed: () => true },
    leases: () => [{ id: 'l', ttlMs: TTL_MS, holder: 'h', keys: new Set() }],
    isOwn: () => false,
    expire: async (id) => void expired.push(id),
  });
  clock.timeMs = 1300;
  disk.onOp = (op) => {
    if (op.kind === 'read') clock.timeMs = 2000;
    return undefined;
  };
  judge.look(true);
  assert.equal(expired, [], 'at 1300 the stamp was good, and it may have been renewed since');
  judge.look(true);
  assert.equal(expired, ['l']);
});

/** Generation 1 ended; 2 as a process that slept would create it anew; 3 is where the others are. */
async function withGhost(body: (disk: FakeDisk, before: KeyValueState) => Promise<void>): Promise<void> {
  const clock = new SimClock();
  const disk = new FakeDisk({ clock, random: new SeededRandom(1) });
  disk.mkdir('coord');
  await inSimulatedTime(clock, async () => {
    const before = new KeyValueState();
    await installGeneration(disk, 'coord', 2, before, 'ghost');
    const after = new KeyValueState();
    after.txn([], [put('k', 'others')]);
    await installGeneration(disk, 'coord', 3, after, 'others');
    await body(disk, before);
  });
}

test('a log created anew by a process that slept is passed over for the newest', async () => {
  await withGhost(async (disk, before) => {
    const { log, state } = await adoptGeneration(disk, 'coord', 2, before, 'me');
    assert.is(log.generation, 3);
    assert.is(state?.get('k')?.value, 'others');
  });
});

test('a log that is ended by a rotate record is followed, though newer ones are there', async () => {
  await withGhost(async (disk, before) => {
    const two = LogFile.open(disk, 'coord', 2);
    two.append({ proposer: '00'.repeat(8), sequence: 0, proposal: { kind: 'rotate' } });
    const { log, state } = await adoptGeneration(disk, 'coord', 2, before, 'me');
    assert.is(log.generation, 2);
    assert.is(state, undefined);
  });
});

test('a log that begins with another state than ours is refused', async () => {
  await withGhost(async (disk) => {
    const other = new KeyValueState();
    other.txn([], [put('k', 'mine')]);
    const outcome = await adoptGeneration(disk, 'coord', 3, other, 'me').catch(
      (error: Error) => error.message,
    );
    assert.match(String(outcome), /another state/);
    assert.is((await openNewest(disk, 'coord', 'me')).log.generation, 3);
  });
});

test.run();
