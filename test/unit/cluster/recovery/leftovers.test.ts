/** What is left of deleted versions is removed, in whatever epoch that becomes possible. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AppError } from '../../../../src/base/errors.js';
import { silentLogger } from '../../../../src/base/log.js';
import {
  type EpochContext,
  EpochEnded,
  type ObjectNode,
} from '../../../../src/cluster/objects/object-node.js';
import { Leftovers } from '../../../../src/cluster/recovery/leftovers.js';
import { dataOid, vidOf } from '../../../../src/wire/oid.js';

const newContext = () => ({ view: { self: { up: true } } }) as unknown as EpochContext;

function setUp(fail: (oid: bigint) => Error | undefined = () => undefined) {
  const stored = new Set([dataOid(7, 1), dataOid(7, 2), dataOid(8, 1)]);
  let pauses = 0;
  const node = {
    context: newContext(),
    stopped: false,
    store: {
      async *objects(vid: number) {
        yield* [...stored].filter((oid) => vidOf(oid) === vid);
      },
    },
    options: { log: silentLogger },
    resolveOrDrop: async (_: EpochContext, oid: bigint) => {
      const error = fail(oid);
      if (error !== undefined) throw error;
      stored.delete(oid);
    },
    pauseInEpoch: async () => void pauses++,
  };
  return { node, stored, leftovers: new Leftovers(node as unknown as ObjectNode), pauses: () => pauses };
}

const settle = async () => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

test('objects of a version that is gone are removed, and no others', async () => {
  const { leftovers, stored } = setUp();
  leftovers.note(7);
  await settle();
  assert.equal([...stored], [dataOid(8, 1)]);
});

test('what fails is tried again', async () => {
  let failures = 2;
  const { leftovers, stored, pauses } = setUp(() =>
    failures-- > 0 ? new AppError('network', 'the coordinator does not answer') : undefined,
  );
  leftovers.note(7);
  await settle();
  assert.is(pauses(), 2);
  assert.equal([...stored], [dataOid(8, 1)]);
});

test('the next epoch goes on where the last one ended', async () => {
  let ended = false;
  const { leftovers, stored, node } = setUp(() => (ended ? undefined : new EpochEnded()));
  leftovers.note(7);
  await settle();
  assert.is(stored.size, 3);
  ended = true;
  node.context = newContext();
  await leftovers.enter(node.context);
  assert.equal([...stored], [dataOid(8, 1)]);
});

test('a version that goes while another one is looked for is not forgotten', async () => {
  const { leftovers, stored } = setUp((oid) => {
    if (oid === dataOid(7, 1)) leftovers.note(8);
    return undefined;
  });
  leftovers.note(7);
  await settle();
  assert.is(stored.size, 0);
});

test.run();
