import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AuthorityHistory, defaultMinCopies } from '../../../../src/cluster/epochs/authority.js';
import type { EpochNode, EpochRecord } from '../../../../src/cluster/epochs/epoch.js';
import { ClusterView } from '../../../../src/cluster/epochs/view.js';
import { dataOid, inodeOid } from '../../../../src/wire/oid.js';

function node(id: number, fields: Partial<EpochNode> = {}): EpochNode {
  return {
    id: `n${id}`,
    host: '127.0.0.1',
    port: 7000 + id,
    zone: id,
    vnodes: 16,
    hostId: 'h',
    bootId: 'b',
    incarnation: `i${id}`,
    in: true,
    up: true,
    upSince: 1,
    placed: { zone: id, vnodes: 16 },
    ...fields,
  };
}

/** A view of the second of two epochs: in the first all are up, in the second these are down. */
function viewWith(count: number, down: readonly number[], self = 0): ClusterView {
  const healthy: EpochRecord = {
    epoch: 1,
    wallMs: 0,
    base: 1,
    ran: true,
    nodes: Array.from({ length: count }, (_, i) => node(i)),
  };
  const nodes = healthy.nodes.map((n, i) => (down.includes(i) ? { ...n, up: false, behindSince: 1 } : n));
  const history = new AuthorityHistory([healthy, { epoch: 2, wallMs: 0, base: 1, ran: true, nodes }]);
  return new ClusterView(history, `n${self}`, defaultMinCopies);
}

const at = (oid: bigint, root: number) => ({ oid, root, copies: 3, objectShift: 22 });

test('all versions of one block of a family lie on the same nodes in the same order', () => {
  const view = viewWith(5, []);
  for (let index = 0; index < 50; index++) {
    const holders = view.locate(at(dataOid(10, index), 10)).holders;
    assert.is(holders.length, 3);
    assert.equal(view.locate(at(dataOid(99, index), 10)).holders, holders);
  }
  assert.is(view.locate(at(inodeOid(10), 10)), view.locate(at(inodeOid(10), 10)), 'placements are kept');
});

test('copies are part of what a placement is kept by', () => {
  const view = viewWith(5, []);
  const oid = dataOid(10, 1);
  assert.is(view.locate({ ...at(oid, 10), copies: 2 }).holders.length, 2);
  assert.is(view.locate(at(oid, 10)).holders.length, 3);
});

test('who is down stays a holder, and the next one that has everything is the primary', () => {
  const healthy = viewWith(3, []);
  const oid = at(dataOid(10, 1), 10);
  const first = healthy.locate(oid).holders[0]!;
  const view = viewWith(3, [Number(first.slice(1))]);
  const { holders, serving, needed } = view.locate(oid);
  assert.equal(holders, healthy.locate(oid).holders);
  assert.equal(serving, holders.slice(1));
  assert.is(needed, 2);
});

test('a flush may count when all in-sync replicas of every set are up', () => {
  assert.ok(viewWith(3, []).allServed({ root: 1, copies: 3 }));
  assert.ok(viewWith(3, [2]).allServed({ root: 1, copies: 3 }), 'the others went on without it');
  assert.not(
    viewWith(3, [1, 2]).allServed({ root: 1, copies: 3 }),
    'those who are away are as good, and have not flushed',
  );
  assert.ok(viewWith(2, [1]).allServed({ root: 1, copies: 2 }));
  assert.not(viewWith(3, [2]).allServed({ root: 1, copies: 1 }));
});

test('catching up is complete only when every set of this node has somebody with the newest content', () => {
  assert.ok(viewWith(3, []).everySetServed());
  assert.not(viewWith(3, [2], 2).everySetServed(), 'volumes of one copy wait for this node itself');
});

test('peers are the others that are up', () => {
  const view = viewWith(4, [2]);
  assert.equal(view.peers, ['n1', 'n3']);
  assert.is(view.self!.id, 'n0');
});

test.run();
