import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { LockFacts, VdiFacts } from '../../../../src/sheepdog/admin/cluster-facts.js';
import { Op, Result } from '../../../../src/wire/sheepdog.js';
import { ask, fakeFacts, hexOf, u32, zeros } from './fixture.js';

const ENTRY_BYTES = 1428;
const vdi = (vid: number, more: Partial<VdiFacts> = {}): VdiFacts => ({
  vid,
  parentVid: 0,
  copies: 3,
  blockSizeShift: 22,
  snapshot: false,
  deleted: false,
  ...more,
});

/** node_id of 127.0.0.1. */
const owner = (port: number): string => `${zeros(12)}7f000001${u32(port).slice(0, 4)}${zeros(22)}`;

async function states(vdis: VdiFacts[], dataLength: number) {
  const { facts } = fakeFacts();
  facts.vdis = async () => vdis;
  return ask(facts, Op.GET_VDI_COPIES, { dataLength });
}

test('GET_VDI_COPIES gives entries in the order of their ids', async () => {
  const vdis = [
    vdi(0xabcdef, { parentVid: 0x123456, snapshot: true }),
    vdi(0x000001, { copies: 2, deleted: true, blockSizeShift: 24 }),
  ];
  const { payload } = await states(vdis, 2 * ENTRY_BYTES);
  const first = `0100000002000100${u32(24)}${zeros(4)}01000000${zeros(1408)}`;
  const second = `efcdab0003010000${u32(22)}5634120001000000${zeros(1408)}`;
  assert.is(hexOf(payload), first + second);
});

test('GET_VDI_COPIES gives all entries or asks for more room', async () => {
  const vdis = [vdi(1), vdi(2)];
  for (const dataLength of [0, 1, ENTRY_BYTES, 2 * ENTRY_BYTES - 1])
    assert.is((await states(vdis, dataLength)).result, Result.BUFFER_SMALL);
  for (const dataLength of [2 * ENTRY_BYTES, 2 * ENTRY_BYTES + 1, 2 ** 31])
    assert.is((await states(vdis, dataLength)).payload?.length, 2 * ENTRY_BYTES);
  const none = await states([], 0);
  assert.equal([none.result, none.payload?.length], [Result.SUCCESS, 0]);
});

test('a locked volume shows its owner', async () => {
  const lock: LockFacts = { kind: 'locked', owners: [{ host: '127.0.0.1', port: 7000 }] };
  const { payload } = await states([vdi(1, { lock })], ENTRY_BYTES);
  assert.is(hexOf(payload?.subarray(16)), u32(2) + owner(7000) + zeros(1428 - 60));
});

test('a shared volume shows all its users and what they may believe', async () => {
  const lock: LockFacts = {
    kind: 'shared',
    owners: [
      { host: '127.0.0.1', port: 7000, copy: 'modified' },
      { host: '127.0.0.1', port: 7001, copy: 'invalidated' },
      { host: '127.0.0.1', port: 7002 },
    ],
  };
  const { payload } = await states([vdi(1, { lock })], ENTRY_BYTES);
  const states31 = u32(1) + u32(3) + u32(2) + zeros(124 - 12);
  const owners31 = owner(7000) + owner(7001) + owner(7002) + zeros(1240 - 120);
  assert.is(hexOf(payload?.subarray(16)), u32(3) + zeros(40) + u32(3) + states31 + owners31);
});

test('at most 31 users of a shared volume are shown; a lock of nobody is none', async () => {
  const owners = Array.from({ length: 40 }, (_, i) => ({ host: '127.0.0.1', port: 7000 + i }));
  const { payload } = await states([vdi(1, { lock: { kind: 'shared', owners } })], ENTRY_BYTES);
  assert.is(payload?.readUInt32LE(60), 31);
  const nobody = await states([vdi(1, { lock: { kind: 'locked', owners: [] } })], ENTRY_BYTES);
  assert.is(hexOf(nobody.payload?.subarray(16)), u32(1) + zeros(1408));
});

test.run();
