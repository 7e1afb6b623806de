/** Catching up when something is in the way: the rest goes on, and it is tried again, but not all the time. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../../src/base/errors.js';
import { silentLogger } from '../../../../src/base/log.js';
import type { EpochContext, ObjectNode } from '../../../../src/cluster/objects/object-node.js';
import { encodeOids } from '../../../../src/cluster/objects/oid-list.js';
import { CatchUp } from '../../../../src/cluster/recovery/catch-up.js';
import type { Comparison } from '../../../../src/cluster/recovery/comparison.js';
import type { Mover } from '../../../../src/cluster/recovery/mover.js';
import type { RecoveryPace } from '../../../../src/cluster/recovery/pace.js';
import { dataOid, inodeOid } from '../../../../src/wire/oid.js';
import { emptyMessage, PeerType } from '../../../../src/wire/peer-message.js';

function setUp(fail: (oid: bigint) => Error | undefined) {
  const missed = [dataOid(9, 1), dataOid(9, 2), inodeOid(9), dataOid(9, 3)];
  const compared: bigint[] = [];
  const caughtUp: number[] = [];
  const pauses: number[] = [];
  let wake = () => {};
  const context = {
    peered: { promise: Promise.resolve() },
    view: {
      self: { up: true, behindSince: 3, upSince: 5 },
      peers: ['a'],
      ended: { promise: new Promise(() => {}) },
      everySetServed: () => true,
    },
  } as unknown as EpochContext;
  const node = {
    context,
    stopped: false,
    strict: false,
    unsettled: { pending: new Set() },
    store: { touchedSince: async () => [], flush: async () => {} },
    options: {
      log: silentLogger,
      copiesInUse: () => [3],
      membership: { declareCaughtUp: async (upSince: number) => void caughtUp.push(upSince) },
    },
    ask: async () => {
      const answer = emptyMessage(PeerType.missed + 1);
      answer.length = missed.length;
      answer.payload = encodeOids(missed);
      return answer;
    },
    pauseInEpoch: (_: EpochContext, delayMs: number) =>
      new Promise<void>((resolve) => {
        pauses.push(delayMs);
        wake = resolve;
      }),
  } as unknown as ObjectNode;
  const comparison = {
    complete: async () => {},
    run: async (_: EpochContext, oid: bigint) => {
      const error = fail(oid);
      if (error !== undefined) throw error;
      compared.push(oid);
      return 4096;
    },
  } as unknown as Comparison;
  const mover = { isWhole: () => true } as unknown as Mover;
  const pace = { run: (work: () => Promise<number>) => work() } as unknown as RecoveryPace;
  const catchUp = new CatchUp(node, comparison, mover, pace);
  return { catchUp, context, compared, caughtUp, pauses, wake: () => wake() };
}

const settle = async () => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

test('inodes first, then the others, then it says so', async () => {
  const { catchUp, context, compared, caughtUp } = setUp(() => undefined);
  catchUp.enter(context);
  await settle();
  assert.equal(caughtUp, [5]);
  assert.is(compared[0], inodeOid(9));
  assert.is(catchUp.movedBytes, 4 * 4096);
  assert.is(catchUp.waiting, undefined);
});

test('an object without room keeps no other one waiting, and is tried again a second later', async () => {
  let full = true;
  const { catchUp, context, compared, caughtUp, pauses, wake } = setUp((oid) =>
    full && oid === dataOid(9, 1) ? new AppError('no-space', 'there is no room') : undefined,
  );
  catchUp.enter(context);
  await settle();
  assert.is(compared.length, 3);
  assert.equal(pauses, [1000]);
  assert.equal(catchUp.waiting, { code: 'no-space', reason: 'there is no room' });
  assert.is(catchUp.remaining, 1);
  full = false;
  wake();
  await settle();
  assert.is(compared.length, 4);
  assert.equal(caughtUp, [5]);
});

test('a link that breaks is tried again soon', async () => {
  let broken = true;
  const { catchUp, context, caughtUp, pauses, wake } = setUp(() =>
    broken ? new AppError('network', 'the link broke') : undefined,
  );
  catchUp.enter(context);
  await settle();
  assert.ok(pauses[0]! <= 100);
  broken = false;
  wake();
  await settle();
  assert.equal(caughtUp, [5]);
});

test.run();
