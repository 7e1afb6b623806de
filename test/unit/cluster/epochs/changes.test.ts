import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Change } from '../../../../src/cluster/epochs/changes.js';
import type { EpochRecord, Registration } from '../../../../src/cluster/epochs/epoch.js';
import { firstEpoch, nextEpoch } from '../../../../src/cluster/epochs/next-epoch.js';
import { whenMoved } from '../../../../src/cluster/recovery/estimate.js';

/** What people want to be different, and the epoch that it makes. */
const ids = ['a', 'b', 'c'];

function registration(id: string): Registration {
  return {
    id,
    host: '127.0.0.1',
    port: 7000 + ids.indexOf(id),
    nbdPort: 0,
    httpPort: 0,
    zone: ids.indexOf(id),
    vnodes: 128,
    hostId: id,
    bootId: 'boot',
    incarnation: `${id}-1`,
    pid: 1,
    lease: id,
    lossy: false,
  };
}

const all = new Map(ids.map((id) => [id, registration(id)]));
const healthy = (): EpochRecord => firstEpoch(all.values(), 0);

function change(record: EpochRecord, wanted: Change, registrations = all): EpochRecord | undefined {
  return nextEpoch(record, registrations, { wallMs: 0, ran: true, change: wanted });
}

test('a node that has come back in this moment is not given up for having been away', () => {
  const without = new Map([...all].filter(([id]) => id !== 'b'));
  const down = nextEpoch(healthy(), without, { wallMs: 0, ran: true })!;
  const out = change(down, { kind: 'out', id: 'b', by: 'delay' }, without);
  assert.equal([out!.nodes[1]!.in, out!.nodes[1]!.outBy], [false, 'delay']);
  const back = change(down, { kind: 'out', id: 'b', by: 'delay' });
  assert.equal([back!.nodes[1]!.up, back!.nodes[1]!.in], [true, true]);
  const asked = change(down, { kind: 'out', id: 'b', by: 'admin' });
  assert.equal([asked!.nodes[1]!.up, asked!.nodes[1]!.in], [true, false]);
});

test('altered copies of a family that is gone are forgotten, in the epoch that was meant or in any', () => {
  const altered = change(healthy(), { kind: 'copies', root: 0x10, present: 3, copies: 2 })!;
  assert.equal(altered.families, { 10: { copies: 3, next: 2 } });
  const done = whenMoved(altered);
  assert.equal(done.families, { 10: { copies: 2 } });
  const settled: EpochRecord = { ...healthy(), families: { 10: { copies: 2 }, 11: { copies: 1 } } };
  const { epoch } = settled;
  assert.is(change(settled, { kind: 'forget-copies', roots: [0x10], epoch }), undefined);
  const one = change(settled, { kind: 'forget-copies', roots: [0x10], epoch: epoch + 1 })!;
  assert.equal(one.families, { 11: { copies: 1 } });
  assert.is(one.move, undefined);
  assert.is(change(settled, { kind: 'forget-copies', roots: [0x10, 0x11] })!.families, undefined);
  assert.is(change(settled, { kind: 'forget-copies', roots: [0x99] }), undefined);
});

test('forgetting a family whose copies are just being changed ends that move', () => {
  const altered = change(healthy(), { kind: 'copies', root: 0x10, present: 3, copies: 2 })!;
  assert.is(altered.move, altered.epoch);
  const gone = change(altered, { kind: 'forget-copies', roots: [0x10] })!;
  assert.equal([gone.move, gone.families, gone.base], [undefined, undefined, gone.epoch]);
});

test('a placement that is thought to its end has the target as its places, and no move', () => {
  const next = change(healthy(), { kind: 'out', id: 'c', by: 'admin' })!;
  assert.is(next.move, next.epoch);
  const end = whenMoved(next);
  assert.is(end.move, undefined);
  assert.equal(
    end.nodes.map((n) => n.placed),
    [{ zone: 0, vnodes: 128 }, { zone: 1, vnodes: 128 }, undefined],
  );
});

test.run();
