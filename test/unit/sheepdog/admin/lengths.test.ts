import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeededRandom } from '../../../../src/base/random.js';
import { adminOperations } from '../../../../src/sheepdog/admin/admin-operations.js';
import { Flag, Op, operationOf, Result } from '../../../../src/wire/sheepdog.js';
import { ask, fakeFacts, u32, zeros } from './fixture.js';

const { SUCCESS, INVALID_PARMS, NO_OBJ, NO_STORE, NO_SUPPORT, NO_TAG, BUFFER_SMALL, FORCE_RECOVER } = Result;
const HUGE = 2 ** 31;

/** Answers to a request with room of each length around `exact`: 0, 1, exact - 1, exact, exact + 1, 2^31. */
const rooms: [opcode: number, exact: number, results: number[]][] = [
  [Op.GET_NODE_LIST, 160, [SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS]],
  [Op.STAT_CLUSTER, 96, [SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS]],
  [Op.CLUSTER_INFO, 491_568, [SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS]],
  [Op.STAT_RECOVERY, 24, [SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS]],
  [Op.GET_STORE_LIST, 12, [SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS]],
  [Op.STAT, 120, [SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS]],
  [Op.GET_LOGLEVEL, 4, [SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS]],
  [Op.GET_RECOVERY, 24, [SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS]],
  [Op.GET_VNODES, 4, [SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS, SUCCESS]],
  [Op.MD_INFO, 263_688, [INVALID_PARMS, INVALID_PARMS, INVALID_PARMS, SUCCESS, INVALID_PARMS, INVALID_PARMS]],
  [Op.GET_OBJ_LIST, 16, [BUFFER_SMALL, BUFFER_SMALL, BUFFER_SMALL, SUCCESS, SUCCESS, SUCCESS]],
  [Op.GET_EPOCH, 88, [NO_TAG, NO_TAG, NO_TAG, NO_TAG, NO_TAG, NO_TAG]],
  [Op.READ_PEER, 8, [NO_OBJ, NO_OBJ, NO_OBJ, NO_OBJ, NO_OBJ, NO_OBJ]],
];

/** The most bytes that come back, by opcode; others send none. */
const answerBytes = new Map(rooms.map(([opcode, exact]) => [opcode, exact]));

test('a client gets no more than it has room for, whatever its length', async () => {
  const { facts } = fakeFacts();
  for (const [opcode, exact, results] of rooms) {
    const lengths = [0, 1, exact - 1, exact, exact + 1, HUGE];
    for (const [i, dataLength] of lengths.entries()) {
      const answer = await ask(facts, opcode, { dataLength });
      assert.is(answer.result, results[i], `${operationOf(opcode)?.name}, ${dataLength} bytes`);
      assert.ok((answer.payload?.length ?? 0) <= exact, 'nothing behind the record');
    }
  }
});

/** Answers to a payload of each length around `exact`: 0, 1, exact - 1, exact, exact + 1, 1 MiB; bytes are zero. */
const payloads: [opcode: number, exact: number, flags: number, results: number[]][] = [
  [Op.MAKE_FS, 6, 0, [INVALID_PARMS, NO_STORE, NO_STORE, NO_STORE, NO_STORE, NO_STORE]],
  [
    Op.SET_LOGLEVEL,
    4,
    0,
    [INVALID_PARMS, INVALID_PARMS, INVALID_PARMS, SUCCESS, INVALID_PARMS, INVALID_PARMS],
  ],
  [
    Op.SET_RECOVERY,
    24,
    0,
    [INVALID_PARMS, INVALID_PARMS, INVALID_PARMS, SUCCESS, INVALID_PARMS, INVALID_PARMS],
  ],
  [
    Op.SET_VNODES,
    8,
    0,
    [
      INVALID_PARMS,
      INVALID_PARMS,
      INVALID_PARMS,
      Result.INVALID_VNODES_STRATEGY,
      INVALID_PARMS,
      INVALID_PARMS,
    ],
  ],
  [Op.OIDS_EXIST, 8, Flag.PIGGYBACK, [SUCCESS, INVALID_PARMS, INVALID_PARMS, NO_OBJ, INVALID_PARMS, NO_OBJ]],
  [Op.TRACE_ENABLE, 4, 0, [INVALID_PARMS, NO_SUPPORT, NO_SUPPORT, NO_SUPPORT, NO_SUPPORT, NO_SUPPORT]],
  [Op.TRACE_DISABLE, 4, 0, [INVALID_PARMS, NO_SUPPORT, NO_SUPPORT, NO_SUPPORT, NO_SUPPORT, NO_SUPPORT]],
];

test('a payload of a wrong length has its code', async () => {
  const { facts } = fakeFacts();
  for (const [opcode, exact, flags, results] of payloads) {
    const lengths = [0, 1, exact - 1, exact, exact + 1, 1 << 20];
    for (const [i, length] of lengths.entries()) {
      const answer = await ask(facts, opcode, { payload: Buffer.alloc(length), flags });
      assert.is(answer.result, results[i], `${operationOf(opcode)?.name}, ${length} bytes`);
    }
  }
});

test('an operation that needs a payload is refused without one, whatever length it announces (P6)', async () => {
  const { facts } = fakeFacts();
  for (const [opcode, exact, flags] of payloads) {
    for (const dataLength of [0, 1, exact - 1, exact, exact + 1, HUGE]) {
      const answer = await ask(facts, opcode, { dataLength, flags });
      assert.is(answer.result, INVALID_PARMS, operationOf(opcode)?.name);
    }
  }
});

/** Operations that look at the header only. */
const plain: [opcode: number, result: number][] = [
  [Op.SHUTDOWN, SUCCESS],
  [Op.KILL_NODE, SUCCESS],
  [Op.CLEANUP, SUCCESS],
  [Op.STAT_SHEEP, SUCCESS],
  [Op.FORCE_RECOVER, FORCE_RECOVER],
  [Op.ENABLE_RECOVER, SUCCESS],
  [Op.DISABLE_RECOVER, SUCCESS],
  [Op.REWEIGHT, NO_SUPPORT],
  [Op.MD_PLUG, NO_SUPPORT],
  [Op.MD_UNPLUG, NO_SUPPORT],
  [Op.ALTER_CLUSTER_COPY, INVALID_PARMS],
  [Op.FLUSH_DEL_CACHE, SUCCESS],
  [Op.DELETE_CACHE, SUCCESS],
  [Op.EXIST, NO_OBJ],
  [Op.GET_HASH, NO_OBJ],
  [Op.REPAIR_REPLICA, NO_OBJ],
  [Op.TRACE_STATUS, SUCCESS],
  [Op.TRACE_READ_BUF, SUCCESS],
  [Op.GET_VDI_COPIES, SUCCESS],
  [Op.CREATE_AND_WRITE_PEER, NO_SUPPORT],
  [Op.WRITE_PEER, NO_SUPPORT],
  [Op.REMOVE_PEER, NO_SUPPORT],
  [Op.COMPLETE_RECOVERY, NO_SUPPORT],
  [Op.NOTIFY_VDI_ADD, NO_SUPPORT],
  [Op.NOTIFY_VDI_DEL, NO_SUPPORT],
  [Op.INODE_COHERENCE, NO_SUPPORT],
  [Op.VDI_STATE_CHECKPOINT_CTL, NO_SUPPORT],
  [Op.DECREF_OBJ, NO_SUPPORT],
  [Op.DECREF_PEER, NO_SUPPORT],
  [Op.SNAPSHOT, INVALID_PARMS],
  [Op.RESTORE, INVALID_PARMS],
  [Op.GET_SNAP_FILE, INVALID_PARMS],
  [Op.FLUSH_NODES, INVALID_PARMS],
  [Op.FLUSH_PEER, INVALID_PARMS],
  [Op.GET_CACHE_INFO, INVALID_PARMS],
  [Op.CACHE_PURGE, INVALID_PARMS],
  [Op.PREVENT_INODE_UPDATE, INVALID_PARMS],
  [Op.ALLOW_INODE_UPDATE, INVALID_PARMS],
  [Op.NFS_CREATE, INVALID_PARMS],
  [Op.NFS_DELETE, INVALID_PARMS],
];

test('operations without data answer the same to every length, and send none', async () => {
  const { facts } = fakeFacts();
  for (const [opcode, result] of plain) {
    const name = operationOf(opcode)?.name;
    for (const dataLength of [0, 1, 47, 48, 49, 1428, HUGE, 2 ** 32 - 1]) {
      const answer = await ask(facts, opcode, { dataLength });
      assert.equal([answer.result, answer.payload?.length ?? 0], [result, 0], name);
    }
    for (const length of [0, 1, 48, 1 << 20]) {
      const answer = await ask(facts, opcode, { payload: Buffer.alloc(length) });
      assert.is(answer.result, result, name);
    }
  }
});

test('an answer is never sent to a client that sends a payload without asking for one', async () => {
  const { facts } = fakeFacts();
  for (const [opcode] of rooms) {
    const answer = await ask(facts, opcode, { payload: Buffer.alloc(64) });
    assert.is(answer.payload?.length ?? 0, 0, operationOf(opcode)?.name);
  }
});

test('headers full of ones are answered too', async () => {
  const { facts } = fakeFacts();
  for (const opcode of adminOperations(facts).keys()) {
    for (const dataLength of [0, 100_000, 2 ** 32 - 1]) {
      const answer = await ask(facts, opcode, { fields: 'ff'.repeat(32), dataLength });
      assert.ok((answer.payload?.length ?? 0) <= (answerBytes.get(opcode) ?? 0), operationOf(opcode)?.name);
    }
  }
});

test('random requests are answered, within their room', async () => {
  const { facts } = fakeFacts();
  const opcodes = [...adminOperations(facts).keys()];
  const random = new SeededRandom(20261123);
  for (let i = 0; i < 2000; i++) {
    const opcode = opcodes[random.below(opcodes.length)]!;
    const fields = Buffer.from(random.bytes(32)).toString('hex');
    const flags = random.below(0x800) & ~Flag.WRITE;
    const payload = random.bytes(random.below(300));
    const dataLength = random.below(1000);
    await ask(
      facts,
      opcode,
      random.below(2) === 0 ? { fields, flags, payload } : { fields, flags, dataLength },
    );
  }
});

test('every operation of the protocol is answered here, or is one of volumes and objects', () => {
  const elsewhere: number[] = [
    ...[Op.CREATE_AND_WRITE_OBJ, Op.READ_OBJ, Op.WRITE_OBJ, Op.REMOVE_OBJ, Op.DISCARD_OBJ],
    ...[Op.NEW_VDI, Op.LOCK_VDI, Op.RELEASE_VDI, Op.GET_VDI_INFO, Op.READ_VDIS, Op.FLUSH_VDI, Op.DEL_VDI],
    ...[Op.GET_CLUSTER_DEFAULT, Op.GET_VDI_ATTR, Op.ALTER_VDI_COPY, Op.READ_DEL_VDIS, Op.CONTROL],
  ];
  const { facts } = fakeFacts();
  const here = adminOperations(facts);
  for (const [name, opcode] of Object.entries(Op))
    assert.is.not(here.has(opcode), elsewhere.includes(opcode), name);
});

test('GET_EPOCH of an epoch that is known has room for all or for nothing', async () => {
  const { facts } = fakeFacts();
  const fields = zeros(20) + u32(1);
  for (const [dataLength, result] of [
    [0, BUFFER_SMALL],
    [1, BUFFER_SMALL],
    [87, BUFFER_SMALL],
    [88, SUCCESS],
    [89, SUCCESS],
    [HUGE, SUCCESS],
  ] as const) {
    const answer = await ask(facts, Op.GET_EPOCH, { dataLength, fields });
    assert.equal([answer.result, answer.payload?.length ?? 0], [result, result === SUCCESS ? 88 : 0]);
  }
});

test.run();
