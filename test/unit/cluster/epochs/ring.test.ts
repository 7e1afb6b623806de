import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../../src/base/random.js';
import {
  buildRing,
  placement,
  placementAt,
  placementIds,
  pointOf,
  positionsReaching,
  type Ring,
  type RingNode,
} from '../../../../src/cluster/epochs/ring.js';
import {
  fromBigInt,
  type Hash64,
  sdHash,
  sdHashNext,
  sdHashOid,
  toBigInt,
} from '../../../../src/wire/hash.js';

function localNodes(count: number): RingNode[] {
  return Array.from({ length: count }, (_, i) => ({
    id: `n${i}`,
    host: '127.0.0.1',
    port: 7000 + i,
    zone: i,
    vnodes: 128,
  }));
}

function ports(ring: Ring, hash: Hash64, copies: number): number[] {
  return placement(ring, hash, copies).map((index) => ring.nodes[index]!.port);
}

const vectors: [nodes: number, oid: bigint, ports: number[]][] = [
  [3, 0x807c2b2600000000n, [7000, 7002, 7001]],
  [3, 0x007c2b2600000001n, [7000, 7001, 7002]],
  [3, 0x007c2b2500000000n, [7001, 7000, 7002]],
  [5, 0x807c2b2500000000n, [7002, 7004, 7001]],
  [5, 0x007c2b2500000000n, [7001, 7003, 7000]],
  [5, 0x007c2b2500000001n, [7000, 7001, 7003]],
  [5, 0x007c2b2500000002n, [7000, 7002, 7004]],
  [5, 0x007c2b2500000003n, [7001, 7003, 7002]],
];
for (const [count, oid, expected] of vectors) {
  test(`oid ${oid.toString(16)} on ${count} nodes lies where the original puts it`, () => {
    assert.equal(ports(buildRing(localNodes(count)), sdHashOid(oid), 3), expected);
  });
}

/** The rule of section 7.4, with bigints and no search; rounds as promised for too few zones. */
function slowPlacement(nodes: readonly RingNode[], hash: bigint, copies: number): string[] {
  const points: { at: bigint; node: RingNode }[] = [];
  for (const node of nodes) {
    const bytes = Buffer.alloc(18);
    bytes.set(node.host.split('.').map(Number), 12);
    bytes.writeUInt16LE(node.port, 16);
    let h = sdHash(bytes);
    for (let k = 0; k < node.vnodes; k++) points.push({ at: toBigInt((h = sdHashNext(h))), node });
  }
  points.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  const walk = [...points.filter((p) => p.at >= hash), ...points.filter((p) => p.at < hash)];
  const chosen: RingNode[] = [];
  for (let perZone = 1; perZone <= nodes.length; perZone++) {
    for (const { node } of walk) {
      if (chosen.length === copies || chosen.includes(node)) continue;
      if (chosen.filter((other) => other.zone === node.zone).length < perZone) chosen.push(node);
    }
  }
  return chosen.map((node) => node.id);
}

function randomNodes(random: SeededRandom): RingNode[] {
  return Array.from({ length: 1 + random.below(9) }, (_, i) => ({
    id: `n${i}`,
    host: `10.0.${random.below(3)}.${random.below(256)}`,
    port: 7000 + i,
    zone: random.below(5),
    vnodes: random.below(20),
  }));
}

test('placement equals the slow rule on random rings', () => {
  const random = new SeededRandom(42);
  for (let i = 0; i < 150; i++) {
    const nodes = randomNodes(random);
    const ring = buildRing(nodes);
    for (let k = 0; k < 10; k++) {
      const hash = random.bytes(8).readBigUInt64LE();
      const copies = 1 + random.below(7);
      assert.equal(placementIds(ring, fromBigInt(hash), copies), slowPlacement(nodes, hash, copies));
    }
  }
});

test('the search is exact around every point, where doubles could not tell hashes apart', () => {
  const ring = buildRing(localNodes(3));
  for (let i = 0; i < ring.size; i++) {
    const at = (BigInt(ring.hi[i]!) << 32n) | BigInt(ring.lo[i]!);
    const on = fromBigInt(at);
    const after = fromBigInt(at + 1n);
    const before = fromBigInt(at - 1n);
    assert.is(pointOf(ring, on.hi, on.lo), i);
    assert.is(pointOf(ring, before.hi, before.lo), i);
    assert.is(pointOf(ring, after.hi, after.lo), (i + 1) % ring.size);
  }
});

test('a hash beyond the last point wraps to the first', () => {
  const ring = buildRing(localNodes(3));
  assert.is(pointOf(ring, 0xffffffff, 0xffffffff), 0);
  assert.is(pointOf(ring, 0, 0), 0);
});

test('the order of the nodes does not matter', () => {
  const nodes = localNodes(5);
  const one = buildRing(nodes);
  const other = buildRing([...nodes].reverse());
  for (let i = 0n; i < 200n; i++) {
    assert.equal(placementIds(one, sdHashOid(i), 3), placementIds(other, sdHashOid(i), 3));
  }
});

test('copies go to different zones first and then evenly to further nodes', () => {
  const nodes = localNodes(6).map((node, i) => ({ ...node, zone: i < 3 ? 1 : 2 }));
  const ring = buildRing(nodes);
  for (let i = 0n; i < 100n; i++) {
    const zones = placement(ring, sdHashOid(i), 4).map((index) => nodes[index]!.zone);
    assert.is(new Set(zones.slice(0, 2)).size, 2);
    assert.is(zones.filter((zone) => zone === 1).length, 2);
    assert.is(new Set(placement(ring, sdHashOid(i), 6)).size, 6);
  }
});

test('no more copies than nodes with points', () => {
  const nodes = localNodes(3).map((node, i) => (i === 1 ? { ...node, vnodes: 0 } : node));
  const ring = buildRing(nodes);
  assert.equal([...placement(ring, sdHashOid(1n), 3)].sort(), [0, 2]);
});

test('an empty ring holds nothing', () => {
  assert.equal(placement(buildRing([]), sdHashOid(1n), 3), []);
  assert.equal(placement(buildRing(localNodes(2).map((n) => ({ ...n, vnodes: 0 }))), sdHashOid(1n), 3), []);
});

test('a walk is done once for each point', () => {
  const ring = buildRing(localNodes(4));
  const point = pointOf(ring, 0x12345678, 0);
  assert.is(placementAt(ring, point, 3), placementAt(ring, point, 3));
});

test('a node that leaves moves only what it held', () => {
  const before = buildRing(localNodes(6));
  const after = buildRing(localNodes(6).filter((node) => node.port !== 7003));
  for (let i = 0n; i < 500n; i++) {
    const old = ports(before, sdHashOid(i), 3);
    const now = ports(after, sdHashOid(i), 3);
    if (!old.includes(7003)) assert.equal(now, old);
    else
      assert.equal(
        now.slice(0, 2),
        old.filter((port) => port !== 7003),
      );
  }
});

test('host names, as simulations use, have a place too', () => {
  const nodes = localNodes(3).map((node, i) => ({ ...node, host: `host${i}` }));
  const first = new Set(
    Array.from({ length: 100 }, (_, i) => placement(buildRing(nodes), sdHashOid(BigInt(i)), 1)[0]),
  );
  assert.is(first.size, 3);
});

test('the walks that reach a node are found without walking them all', () => {
  const random = new SeededRandom(7);
  for (let i = 0; i < 150; i++) {
    const ring = buildRing(randomNodes(random));
    const copies = 1 + random.below(4);
    const wanted = `n${random.below(9)}`;
    const found = [...positionsReaching(ring, (node) => node.id === wanted, copies)];
    const walked = [...Array(ring.size).keys()].filter((at) =>
      placementAt(ring, at, copies).some((index) => ring.nodes[index]!.id === wanted),
    );
    const isExact = ring.zoneCount >= copies;
    assert.equal(isExact ? found : walked.filter((at) => found.includes(at)), walked);
  }
});

test.run();
