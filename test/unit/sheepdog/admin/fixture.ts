import * as assert from 'uvu/assert';
import { adminOperations } from '../../../../src/sheepdog/admin/admin-operations.js';
import type {
  ClusterDescription,
  ClusterFacts,
  FormatOptions,
  NodeFacts,
  RequestFacts,
} from '../../../../src/sheepdog/admin/cluster-facts.js';
import type { Request } from '../../../../src/sheepdog/operation.js';
import { HEADER_BYTES } from '../../../../src/wire/headers.js';
import { ClusterFlag, Flag } from '../../../../src/wire/sheepdog.js';

/** What a fake cluster was told to do. */
export interface Told {
  formats: FormatOptions[];
  shutdowns: number;
  kills: number;
  copies: number[];
  recovery: boolean[];
  levels: number[];
}

export type Editable<T> = { -readonly [K in keyof T]: T[K] };

export const node = (port: number, more: Partial<NodeFacts> = {}): NodeFacts => ({
  host: '127.0.0.1',
  port,
  zone: port - 7000,
  vnodes: 128,
  spaceBytes: 0x1_0000_0001,
  ...more,
});

const requests = (first: number): RequestFacts => ({
  active: first,
  total: first + 1,
  read: first + 2,
  write: first + 3,
  remove: first + 4,
  flush: first + 5,
  writeBytes: first + 6,
  readBytes: first + 7,
});

/** Object 00000001_00000000 of 32 bytes (0, 1, 2, ...), and nothing else. */
export const OBJECT = 0x0000000100000000n;
export const OBJECT_BYTES = 32;
const content = Uint8Array.from({ length: OBJECT_BYTES }, (_, i) => i);

/** A running cluster of two nodes in its second epoch; tests change what they are about. */
export function fakeFacts(): {
  facts: Editable<ClusterFacts>;
  cluster: Editable<ClusterDescription>;
  told: Told;
} {
  const told: Told = { formats: [], shutdowns: 0, kills: 0, copies: [], recovery: [], levels: [] };
  const nodes = [node(7001), node(7000)];
  const cluster: ClusterDescription = {
    state: 'running',
    createdMs: 1_700_000_000_250,
    copies: 3,
    blockSizeShift: 22,
    flags: ClusterFlag.AUTO_VNODES | ClusterFlag.USE_LOCK,
    nodes,
    epochs: [
      { epoch: 2, wallMs: 1_700_000_002_999, nodes },
      { epoch: 1, wallMs: 1_700_000_001_000, nodes: [node(7000)] },
    ],
  };
  const facts: ClusterFacts = {
    driverName: 'local',
    vnodes: 128,
    describe: () => cluster,
    logLevel: async () => 6,
    disks: async () => [{ path: '/d0', usedBytes: 0x100, freeBytes: 0x2_0000_0000 }],
    recovery: async () => undefined,
    counters: async () => ({ gateway: requests(0x10), peer: requests(0x20) }),
    vdis: async () => [],
    objects: {
      sizeOf: async (oid) => (oid === OBJECT ? OBJECT_BYTES : undefined),
      hash: async (oid) => (oid === OBJECT ? Uint8Array.from({ length: 20 }, (_, i) => i + 1) : undefined),
      read: async (oid, offset, length) =>
        oid === OBJECT ? content.subarray(offset, offset + length) : undefined,
      async *stored() {
        yield OBJECT;
        yield 0x8000000100000000n;
      },
    },
    acts: {
      format: async (options) => void told.formats.push(options),
      shutdown: async () => void told.shutdowns++,
      kill: async () => void told.kills++,
      setDefaultCopies: async (copies) => void told.copies.push(copies),
      setRecovery: async (enabled) => void told.recovery.push(enabled),
      setLogLevel: async (level) => void told.levels.push(level),
    },
  };
  return { facts, cluster, told };
}

export interface Asked {
  /** Bytes 16 to 47 of the header, from 16 on. */
  fields?: string;
  /** Room for the answer; with a payload its length unless given. */
  dataLength?: number;
  payload?: Uint8Array;
  /** Added to WRITE, which a payload brings. */
  flags?: number;
}

/** A request as a connection hands it on. */
export function requestOf(opcode: number, asked: Asked = {}): Request {
  const payload = Buffer.from(asked.payload ?? []);
  const flags = (asked.flags ?? 0) | (asked.payload === undefined ? 0 : Flag.WRITE);
  const dataLength = asked.dataLength ?? payload.length;
  const header = Buffer.alloc(HEADER_BYTES);
  header.set([0x0a, opcode], 0);
  header.writeUInt16LE(flags, 2);
  header.writeUInt32LE(dataLength, 12);
  header.set(Buffer.from(asked.fields ?? '', 'hex'), 16);
  const client = { address: '127.0.0.1', silent: false, onClose: () => {}, notes: new Map() };
  return { opcode, flags, dataLength, header, payload, client, send: () => {} };
}

export interface Answered {
  readonly result: number;
  readonly header?: Buffer;
  readonly payload?: Buffer;
}

/** Asks, and checks what holds for every answer: it is no longer than the client has room for. */
export async function ask(facts: ClusterFacts, opcode: number, asked: Asked = {}): Promise<Answered> {
  const operation = adminOperations(facts).get(opcode);
  assert.ok(operation, `opcode 0x${opcode.toString(16)} is not served`);
  const request = requestOf(opcode, asked);
  const { result, header, payload } = await operation(request);
  const answered = { result, ...(header && { header }) };
  if (payload === undefined) return answered;
  const bytes = payload instanceof Uint8Array ? Buffer.from(payload) : Buffer.concat(payload);
  assert.ok(bytes.length <= request.dataLength, 'more than was asked');
  if (asked.payload !== undefined && ((asked.flags ?? 0) & Flag.PIGGYBACK) === 0) assert.is(bytes.length, 0);
  return { ...answered, payload: bytes };
}

export const hexOf = (bytes: Uint8Array | undefined): string =>
  bytes === undefined ? '' : Buffer.from(bytes).toString('hex');

/** Little-endian numbers as hex, to write expected bytes down. */
export const u32 = (value: number): string => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.toString('hex');
};

export const u64 = (value: number | bigint): string => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes.toString('hex');
};

export const zeros = (count: number): string => '00'.repeat(count);

/** sd_node of `node(port)`: no pointers, 127.0.0.1, port, no second network, 128 vnodes, zone, space. */
export const nodeHex = (port: number): string =>
  zeros(24) +
  `${zeros(12)}7f000001${u32(port).slice(0, 4)}` +
  zeros(22) +
  `8000${zeros(2)}${u32(port - 7000)}${u64(0x1_0000_0001)}`;
