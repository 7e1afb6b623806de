/** Captured sequences of `dog vdi setattr` and `getattr` replayed: GET_VDI_ATTR and the attribute object (5.5, A.1). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { attribute } from '../../src/wire/records.js';
import { Flag, nameOfResult, Result } from '../../src/wire/sheepdog.js';
import { ok } from '../helpers/sheepdog-calls.js';
import { doorTests, pattern } from '../helpers/sheepdog-door.js';

const MIB = 1024 * 1024;
const it = doorTests(test);
const is = (answer: { result: number }, wanted: number, message?: string) =>
  assert.is(nameOfResult(answer.result), nameOfResult(wanted), message);

it('an attribute is set, found under the id of the reference, and read as an object', async (door) => {
  const fresh = door.fresh();
  ok(await fresh.newVdi({ name: 'test', sizeBytes: MIB }));
  const set = ok(await fresh.attribute({ name: 'test', key: 'k', value: Buffer.from('v1') }, Flag.CREAT));
  assert.equal([set.vid, set.attrId, set.copies], [0x7c2b25, 0x594a8b4e, 3]);
  const found = ok(await door.fresh(1).attribute({ name: 'test', key: 'k' }));
  assert.equal([found.vid, found.attrId], [set.vid, set.attrId]);
  const { payload } = ok(await door.fresh(2).readObj(0x207c2b25594a8b4en, 0, attribute.sizeBytes));
  const record = attribute.decode(payload);
  assert.equal([record.name, record.tag, record.key, record.valueLength], ['test', '', 'k', 2]);
  assert.is(record.value.toString('utf8', 0, 2), 'v1');
});

it('the flags say whether a key may or must be new', async (door) => {
  const fresh = door.fresh();
  ok(await fresh.newVdi({ name: 'flags', sizeBytes: MIB }));
  const call = (flags: number, value = '') =>
    fresh.attribute({ name: 'flags', key: 'key', value: Buffer.from(value) }, flags);
  is(await call(0), Result.NO_OBJ);
  is(await call(Flag.DEL), Result.NO_OBJ);
  is(await call(Flag.CREAT | Flag.EXCL, 'one'), Result.SUCCESS);
  is(await call(Flag.CREAT | Flag.EXCL, 'two'), Result.VDI_EXIST);
  is(await call(0), Result.SUCCESS);
  is(await call(Flag.CREAT, 'three'), Result.SUCCESS);
  assert.is((await door.cluster.call('vdi.getattr', { name: 'flags', key: 'key' })).value, b64('three'));
  is(await call(Flag.DEL), Result.SUCCESS);
  is(await call(0), Result.NO_OBJ);
  is(await call(Flag.CREAT | Flag.EXCL, 'four'), Result.SUCCESS, 'after its deletion it may be new again');
});

const b64 = (text: string) => Buffer.from(text).toString('base64');

it('an unknown volume has no attributes', async (door) => {
  is(await door.fresh().attribute({ name: 'nobody', key: 'k' }, Flag.CREAT), Result.NO_VDI);
});

it('an attribute survives a snapshot of its volume, and goes with the volume', async (door) => {
  const fresh = door.fresh();
  const { vid } = ok(await fresh.newVdi({ name: 'kept', sizeBytes: MIB }));
  ok(await fresh.attribute({ name: 'kept', key: 'k', value: Buffer.from('v') }, Flag.CREAT));
  ok(await fresh.newVdi({ name: 'kept', sizeBytes: MIB, baseVid: vid, snapId: 1 }));
  is(await fresh.attribute({ name: 'kept', key: 'k' }), Result.SUCCESS);
});

it('the largest value comes back as it was', async (door) => {
  const fresh = door.fresh();
  ok(await fresh.newVdi({ name: 'large', sizeBytes: MIB }));
  const value = pattern(1, 65_536);
  const { vid, attrId } = ok(await fresh.attribute({ name: 'large', key: 'k', value }, Flag.CREAT));
  const oid = (0x20n << 56n) | (BigInt(vid) << 32n) | BigInt(attrId);
  const { payload } = ok(await door.fresh(1).readObj(oid, 0, attribute.sizeBytes));
  assert.ok(attribute.decode(payload).value.equals(value));
});

it('what dog has set is read by the protocol, and the other way round', async (door) => {
  const fresh = door.fresh();
  ok(await fresh.newVdi({ name: 'both', sizeBytes: MIB }));
  await door.cluster.call('vdi.setattr', { name: 'both', key: 'dog', mode: 'set', value: b64('wuff') });
  const { vid, attrId } = ok(await fresh.attribute({ name: 'both', key: 'dog' }));
  const oid = (0x20n << 56n) | (BigInt(vid) << 32n) | BigInt(attrId);
  const { valueLength, value } = attribute.decode(
    ok(await fresh.readObj(oid, 0, attribute.sizeBytes)).payload,
  );
  assert.is(value.toString('utf8', 0, valueLength), 'wuff');
  ok(await fresh.attribute({ name: 'both', key: 'old', value: Buffer.from('baa') }, Flag.CREAT));
  assert.is((await door.cluster.call('vdi.getattr', { name: 'both', key: 'old' })).value, b64('baa'));
});

test.run();
