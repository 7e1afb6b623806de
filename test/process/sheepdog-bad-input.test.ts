// deadline: 300 s
/**
 * Requests that are wrong (reference, 10.3): an error code, the connection kept where the framing is intact, never a
 * crash, never more bytes than asked for. The raw client checks the last of these with every answer.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sdHashVdi } from '../../src/wire/hash.js';
import { objRequest, vdiRequest } from '../../src/wire/headers.js';
import { dataOid, inodeOid, vmstateOid } from '../../src/wire/oid.js';
import { Flag, nameOfOpcode, nameOfResult, Op, operationOf, Result } from '../../src/wire/sheepdog.js';
import { namePayload, ok } from '../helpers/sheepdog-calls.js';
import type { RawRequest } from '../helpers/sheepdog-client.js';
import { doorTests, pattern, type SheepdogDoor } from '../helpers/sheepdog-door.js';
import { ANY_LENGTH_MAX, fatalOperations, lengthsOf, rightLength } from '../helpers/sheepdog-lengths.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const it = doorTests(test);

const is = (answer: { result: number }, wanted: number, message?: string) =>
  assert.is(nameOfResult(answer.result), nameOfResult(wanted), message);
const opcodes = Array.from({ length: 256 }, (_, opcode) => opcode);
const harmless = opcodes.filter((opcode) => !fatalOperations.has(opcode));
const isServed = (opcode: number) =>
  operationOf(opcode) !== undefined && operationOf(opcode)?.class !== 'gone';
const versionOf = (opcode: number) => (opcode < 0x80 || opcode === Op.CONTROL ? 2 : 0x0a);

/** The sheep that was maltreated still does its work, and is the process it was. */
async function stillServes(door: SheepdogDoor, pid: number): Promise<void> {
  const name = `probe-${Math.random().toString(36).slice(2)}`;
  const fresh = door.fresh();
  const { vid } = ok(await fresh.newVdi({ name, sizeBytes: MIB }));
  ok(await fresh.createObj(dataOid(vid, 0), 0, pattern(1, KIB)));
  ok(await fresh.writeIndex(vid, 0, [vid]));
  assert.ok(ok(await fresh.readObj(dataOid(vid, 0), 0, KIB)).payload.equals(pattern(1, KIB)));
  ok(await fresh.delVdi({ name }));
  assert.ok(door.sheep().running);
  assert.is(door.sheep().pid, pid);
}

/** What fields of a header hold: nothing, everything, and noise. */
const fillings = [Buffer.alloc(48), Buffer.alloc(48, 0xff), pattern(7, 48)];

it('every opcode with a version of the other kind is VER_MISMATCH', async (door) => {
  const { client } = await door.connect();
  const wrong = opcodes.flatMap((opcode) =>
    [3, 9, 0x0a, 0x0b, 255, 0, 1, 2]
      .filter((version) => (opcode < 0x80 ? version > 2 : version !== versionOf(opcode)))
      .map(async (version) => {
        const reply = await client.request({ opcode, version });
        is(reply, Result.VER_MISMATCH, `${nameOfOpcode(opcode)}, version ${version}`);
      }),
  );
  await Promise.all(wrong);
  assert.ok(client.open);
});

it('opcodes that are none, or are none any more, are INVALID_PARMS', async (door) => {
  const { client } = await door.connect();
  for (const opcode of opcodes.filter((each) => !isServed(each))) {
    for (const flags of [0, Flag.WRITE]) {
      const payload = flags === 0 ? undefined : Buffer.alloc(100, 0xff);
      const request = {
        opcode,
        version: versionOf(opcode),
        flags,
        dataLength: 100,
        ...(payload && { payload }),
      };
      is(await client.request(request), Result.INVALID_PARMS, nameOfOpcode(opcode));
    }
  }
  assert.ok(client.open);
});

it('every opcode with every length, without payload, is answered on a connection that stays', async (door) => {
  const { pid } = door.sheep();
  const { client } = await door.connect();
  for (const opcode of harmless) {
    const lengths = [...lengthsOf(opcode), 16 * MIB + 1, ANY_LENGTH_MAX];
    const version = versionOf(opcode);
    await Promise.all(
      fillings.flatMap((fields) =>
        lengths.map((dataLength) => client.request({ opcode, version, flags: 0, dataLength, fields })),
      ),
    );
  }
  assert.ok(client.open);
  await stillServes(door, pid);
});

it('every opcode with every length of payload is answered on a connection that stays', async (door) => {
  const { pid } = door.sheep();
  const { client } = await door.connect();
  for (const opcode of harmless) {
    const version = versionOf(opcode);
    for (const byte of [0, 0xff, 0x41]) {
      await Promise.all(
        lengthsOf(opcode).map((length) =>
          client.request({
            opcode,
            version,
            flags: Flag.WRITE,
            fields: fillings[byte === 0 ? 0 : 1]!,
            payload: Buffer.alloc(length, byte),
          }),
        ),
      );
    }
  }
  assert.ok(client.open);
  await stillServes(door, pid);
});

it('payload of 16 MiB and a byte is answered or hung up on', async (door) => {
  const { pid } = door.sheep();
  const payload = Buffer.alloc(16 * MIB + 1, 0x42);
  for (const opcode of [...harmless.filter(isServed), 0x06, 0x91, 0xf0]) {
    const { client } = await door.connect();
    const asked = client.request({ opcode, version: versionOf(opcode), flags: Flag.WRITE, payload });
    const reply = await asked.catch(() => undefined);
    if (reply !== undefined && opcode !== Op.RELEASE_VDI) {
      assert.ok(reply.result !== Result.SUCCESS || !isGatewayOrVdi(opcode), nameOfOpcode(opcode));
    }
    client.close();
  }
  await stillServes(door, pid);
});

function isGatewayOrVdi(opcode: number): boolean {
  return (
    opcode < 0x80 && opcode !== Op.GET_CLUSTER_DEFAULT && opcode !== Op.FLUSH_VDI && opcode !== Op.READ_OBJ
  );
}

it('a payload announced with 4 GiB is refused, and nobody waits for it', async (door) => {
  const { pid } = door.sheep();
  await Promise.all(
    harmless.map(async (opcode) => {
      const { client } = await door.connect();
      const version = versionOf(opcode);
      const request: RawRequest = { opcode, version, flags: Flag.WRITE, dataLength: ANY_LENGTH_MAX };
      const reply = await client.request(request).catch(() => undefined);
      if (reply !== undefined) assert.is.not(reply.result, Result.SUCCESS, nameOfOpcode(opcode));
      // What follows cannot be told from payload: the connection must end.
      await client.closed;
    }),
  );
  await stillServes(door, pid);
});

it('fixed lengths are INVALID_PARMS when they are others', async (door) => {
  const { client } = await door.connect();
  const fixed = [Op.NEW_VDI, Op.LOCK_VDI, Op.GET_VDI_INFO, Op.DEL_VDI, Op.GET_VDI_ATTR];
  for (const opcode of fixed) {
    for (const length of [0, 1, 255, 257, 511, 513, rightLength(opcode) - 1, rightLength(opcode) + 1]) {
      const payload = Buffer.alloc(length, 0x41);
      const flags = Flag.WRITE;
      is(await client.request({ opcode, flags, payload, version: versionOf(opcode) }), Result.INVALID_PARMS);
    }
  }
  for (const opcode of [Op.READ_VDIS, Op.READ_DEL_VDIS, Op.MD_INFO]) {
    for (const dataLength of [0, 1, rightLength(opcode) - 1, rightLength(opcode) + 1, ANY_LENGTH_MAX]) {
      is(await client.request({ opcode, dataLength }), Result.INVALID_PARMS, `${nameOfOpcode(opcode)}`);
    }
  }
});

it('an operation on a name without payload is INVALID_PARMS, and makes nothing', async (door) => {
  const { client } = await door.connect();
  const before = (await door.cluster.call('vdi.list', {})).length;
  for (const opcode of [Op.NEW_VDI, Op.LOCK_VDI, Op.GET_VDI_INFO, Op.DEL_VDI, Op.GET_VDI_ATTR]) {
    const request = { opcode, version: versionOf(opcode), flags: 0, dataLength: rightLength(opcode) };
    is(await client.request(request), Result.INVALID_PARMS, nameOfOpcode(opcode));
  }
  assert.is((await door.cluster.call('vdi.list', {})).length, before);
});

it('a snapshot is found by its id without a field for the tag', async (door) => {
  // The original crashes here.
  const { client, calls } = await door.connect();
  const { vid } = ok(await calls.newVdi({ name: 'null-tag', sizeBytes: MIB }));
  const tag = Buffer.alloc(256);
  tag.write('tagged');
  ok(await calls.writeObj(inodeOid(vid), 256, tag));
  ok(await calls.newVdi({ name: 'null-tag', sizeBytes: MIB, snapId: 1, baseVid: vid }));
  const ask = (opcode: number, snapId: number) =>
    client.request({ opcode, fields: vdiRequest.encode({ snapId }), payload: namePayload('null-tag') });
  is(await ask(Op.GET_VDI_INFO, 1), Result.SUCCESS);
  is(await ask(Op.LOCK_VDI, 1), Result.SUCCESS);
  is(await ask(Op.GET_VDI_INFO, 77), Result.NO_TAG);
  is(await ask(Op.DEL_VDI, 77), Result.NO_TAG);
  is(await ask(Op.DEL_VDI, 1), Result.SUCCESS);
});

it('names that cannot be names are refused', async (door) => {
  const fresh = door.fresh();
  for (const [what, name] of [
    ['empty', Buffer.alloc(0)],
    ['without NUL', Buffer.alloc(256, 0x61)],
  ] as const) {
    is(await fresh.newVdi({ name, sizeBytes: MIB }), Result.INVALID_PARMS, what);
    assert.is.not((await fresh.getVdiInfo({ name })).result, Result.SUCCESS, what);
    assert.is.not((await fresh.lock({ name })).result, Result.SUCCESS, what);
    assert.is.not((await fresh.delVdi({ name })).result, Result.SUCCESS, what);
  }
  ok(await fresh.newVdi({ name: 'l'.repeat(255), sizeBytes: MIB }));
  ok(await fresh.getVdiInfo({ name: 'l'.repeat(255) }));
});

it('a name that is no text is refused, or kept to the byte', async (door) => {
  const fresh = door.fresh();
  const name = Buffer.from([0x62, 0xff, 0xfe, 0xc3]);
  const other = Buffer.from([0x62, 0xfd, 0xfc, 0xc2]);
  const made = await fresh.newVdi({ name, sizeBytes: MIB });
  if (made.result !== Result.SUCCESS) {
    is(made, Result.INVALID_PARMS);
    return;
  }
  assert.is(made.vid, sdHashVdi(name));
  assert.is(ok(await fresh.getVdiInfo({ name })).vid, made.vid);
  is(await fresh.getVdiInfo({ name: other }), Result.NO_VDI, 'another name that reads alike');
});

it('odd names do not get out of their place', async (door) => {
  const fresh = door.fresh();
  for (const name of [
    '../../etc/passwd',
    'a/b',
    'a@b',
    'a:b',
    '-rf',
    '\n',
    ' ',
    '\x01\x7f',
    '"',
    '%2e',
    '日本',
  ]) {
    const made = await fresh.newVdi({ name, sizeBytes: MIB });
    if (made.result !== Result.SUCCESS) {
      is(made, Result.INVALID_PARMS, JSON.stringify(name));
      continue;
    }
    assert.is(made.vid, sdHashVdi(name), JSON.stringify(name));
    assert.is(ok(await fresh.getVdiInfo({ name })).vid, made.vid);
    ok(await fresh.delVdi({ name }));
  }
});

it('sizes, bases and copies that cannot be are refused, and nothing is made', async (door) => {
  const fresh = door.fresh();
  const sizeBytes = MIB;
  const cases = {
    'a size beyond the index': { sizeBytes: (1n << 42n) + 1n },
    'the largest number as a size': { sizeBytes: (1n << 64n) - 1n },
    'a base that is not there': { sizeBytes, baseVid: 0x123456 },
    'a base out of range': { sizeBytes, baseVid: 0xffffffff },
    'more copies than can be': { sizeBytes, copies: 32 },
    'all copies': { sizeBytes, copies: 255 },
    'a store policy that is none': { sizeBytes, storePolicy: 77 },
  };
  for (const [what, vdi] of Object.entries(cases)) {
    const made = await fresh.newVdi({ name: 'cannot-be', ...vdi });
    assert.is.not(made.result, Result.SUCCESS, what);
    assert.is(made.vid, 0, `${what}: no memory leaks`);
    is(await fresh.getVdiInfo({ name: 'cannot-be' }), Result.NO_VDI, what);
  }
});

it('object ids that cannot be are refused by every operation', async (door) => {
  const { client } = await door.connect();
  const { vid } = ok(await door.fresh().newVdi({ name: 'oids', sizeBytes: MIB }));
  const v = BigInt(vid) << 32n;
  const wrong = [
    0n,
    0xffffffffffffffffn,
    v | (7n << 56n),
    v | 0x00100000n,
    v | 0xffffffffn,
    (1n << 63n) | v | 1n,
    (1n << 63n) | (1n << 62n) | v,
    (1n << 62n) | v | 0xffffffffn,
    1n << 63n,
    1n << 59n,
  ];
  for (const opcode of [1, 2, 3, 4, 5]) {
    for (const oid of wrong) {
      const fields = objRequest.encode({ oid, cowOid: oid });
      const isRead = opcode === Op.READ_OBJ || opcode === Op.REMOVE_OBJ || opcode === Op.DISCARD_OBJ;
      const request = isRead ? { dataLength: 512 } : { payload: pattern(1, 512) };
      for (const flags of isRead ? [0] : [Flag.WRITE, Flag.WRITE | Flag.COW]) {
        const { result } = await client.request({ opcode, version: 0, flags, fields, ...request });
        const text = `${nameOfOpcode(opcode)} of ${oid.toString(16)}: ${nameOfResult(result)}`;
        assert.ok(result === Result.INVALID_PARMS || result === Result.NO_OBJ, text);
      }
    }
  }
  assert.is((await door.fresh().readHeader(vid)).vid, vid);
});

it('offsets beyond the end of inodes, machine states and attributes are refused', async (door) => {
  const { calls } = await door.connect();
  const { vid } = ok(await calls.newVdi({ name: 'offsets', sizeBytes: MIB, blockSizeShift: 20 }));
  for (const [oid, end] of [
    [inodeOid(vid), 12_587_576],
    [vmstateOid(vid, 0), MIB],
    [dataOid(vid, 0), MIB],
  ] as const) {
    for (const offset of [end - 1, end, 0x7fffffff, 0xffffffff]) {
      const text = `${oid.toString(16)} at ${offset}`;
      assert.is.not((await calls.writeObj(oid, offset, pattern(1, 512))).result, Result.SUCCESS, text);
      if (oid !== inodeOid(vid)) {
        assert.is.not((await calls.createObj(oid, offset, pattern(1, 512))).result, Result.SUCCESS, text);
      }
      const read = await calls.readObj(oid, offset, 512);
      assert.ok(read.result !== Result.SUCCESS || read.payload.length === 512, text);
    }
  }
  assert.is((await calls.readHeader(vid)).name, 'offsets');
});

it('an inode cannot be made nonsense by writing to it', async (door) => {
  const { calls } = await door.connect();
  const { vid } = ok(await calls.newVdi({ name: 'sane', sizeBytes: 4 * MIB, blockSizeShift: 20 }));
  await calls.writeObj(inodeOid(vid), 0, Buffer.alloc(4664, 0xff));
  await calls.writeObj(inodeOid(vid), 0, Buffer.alloc(4664));
  await calls.writeObj(inodeOid(vid), 512, pattern(1, 1000));
  await calls.createObj(inodeOid(vid), 0, pattern(2, 4664));
  await calls.removeObj(inodeOid(vid));
  await calls.writeIndex(vid, 0, [0xffffffff, 0x123456, 1, 0x01000000]);
  await calls.writeObj(inodeOid(vid), 4666, pattern(3, 5));
  await calls.writeObj(inodeOid(vid), 4_198_968, pattern(4, 64));
  // Whatever of that was refused: the volume is still there, and can be deleted.
  const header = await calls.readHeader(vid);
  assert.equal([header.name, header.vid, header.blockSizeShift, header.copies], ['sane', vid, 20, 3]);
  assert.is((await door.cluster.call('vdi.info', { name: 'sane' })).blockSizeShift, 20);
  ok(await calls.delVdi({ name: 'sane' }));
  ok(await calls.newVdi({ name: 'sane', sizeBytes: 4 * MIB, blockSizeShift: 20 }));
});

it('a cluster is not formatted by a store that does not exist', async (door) => {
  const { client, calls } = await door.connect();
  const { vid } = ok(await calls.newVdi({ name: 'survives', sizeBytes: MIB }));
  for (const name of ['', 'plan', 'x'.repeat(300)]) {
    const reply = await client.request({ opcode: Op.MAKE_FS, payload: Buffer.from(`${name}\0`) });
    assert.is.not(reply.result, Result.SUCCESS);
  }
  assert.is((await calls.readHeader(vid)).name, 'survives');
});

test.run();
