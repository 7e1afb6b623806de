import { areBlocks, blockSums, joinSums } from '../../base/block-sums.js';
import { crc32 } from '../../base/bytes.js';
import { AppError } from '../../base/errors.js';
import type { ObjectStore, WriteMode } from '../../store/object-store.js';
import { invalidOid } from '../../wire/oid.js';
import { emptyMessage, PeerFlag, type PeerMessage, type PeerType } from '../../wire/peer-message.js';
import { checkAddress, type ObjectAddress, objectBytesOf } from '../epochs/address.js';

/** One change of one object: what a gateway asks a primary for, and a primary its replicas. */
export interface Mutation {
  readonly kind: 'write' | 'zero' | 'remove';
  readonly mode: WriteMode;
  /** Source of a copy-on-write; 0 without. */
  readonly parent: bigint;
  readonly offset: number;
  readonly length: number;
  /** Bytes of a write, of exactly `length`. */
  readonly data: Uint8Array;
  /** Zero only: keep the range allocated. */
  readonly allocate: boolean;
  readonly sync: boolean;
  /** A copy that is not to inherit: see PeerFlag. */
  readonly whole: boolean;
  /** CRC-32 of the data once it is known: every replica is sent the same bytes. */
  dataCrc?: number;
  /** CRC-32 of each block of the data, once known, where they are whole blocks of the object. */
  dataSums?: Uint32Array | undefined;
}

const NO_DATA = new Uint8Array(0);
const modes: readonly WriteMode[] = ['update', 'ensure', 'create', 'cow'];

export function writeOf(
  offset: number,
  data: Uint8Array,
  options: { mode: WriteMode; parent?: bigint; sync: boolean },
): Mutation {
  const { mode, parent = 0n, sync } = options;
  return {
    kind: 'write',
    mode,
    parent,
    offset,
    length: data.length,
    data,
    allocate: false,
    sync,
    whole: false,
    dataCrc: 0,
    dataSums: undefined,
  };
}

export function zeroOf(
  offset: number,
  length: number,
  options: { mode: WriteMode; parent?: bigint; sync: boolean; allocate: boolean },
): Mutation {
  const { mode, parent = 0n, sync, allocate } = options;
  return {
    kind: 'zero',
    mode,
    parent,
    offset,
    length,
    data: NO_DATA,
    allocate,
    sync,
    whole: false,
    dataCrc: 0,
    dataSums: undefined,
  };
}

export function removeOf(sync: boolean): Mutation {
  return {
    kind: 'remove',
    mode: 'update',
    parent: 0n,
    offset: 0,
    length: 0,
    data: NO_DATA,
    allocate: false,
    sync,
    whole: false,
    dataCrc: 0,
    dataSums: undefined,
  };
}

/** The bytes it touches: the whole object when it may replace it. */
export function rangeOf(mutation: Mutation, address: ObjectAddress): { start: number; end: number } {
  if (mutation.kind === 'remove' || mutation.mode === 'create' || mutation.mode === 'cow') {
    return { start: 0, end: objectBytesOf(address) };
  }
  return { start: mutation.offset, end: mutation.offset + mutation.length };
}

export function applyTo(
  store: ObjectStore,
  address: ObjectAddress,
  mutation: Mutation,
  epoch: number,
): Promise<void> {
  const { oid } = address;
  const { mode, parent, offset, sync, whole } = mutation;
  if (mutation.kind === 'remove') return store.remove(oid, epoch, sync);
  const objectBytes = objectBytesOf(address);
  // Written out for the hot path: spreads cost more than the rest of this function.
  if (mutation.kind === 'write') {
    const { data, dataSums } = mutation;
    if (mode !== 'cow') return store.write({ oid, objectBytes, mode, epoch, offset, sync, data, dataSums });
    return store.write({ oid, objectBytes, mode, epoch, offset, sync, data, dataSums, parent, whole });
  }
  const common = {
    oid,
    objectBytes,
    mode,
    epoch,
    offset,
    sync,
    ...(mode === 'cow' && { parent, whole }),
  };
  return store.zero({ ...common, length: mutation.length, allocate: mutation.allocate });
}

/** `base` is the type for a write: the types for zero and remove follow it. */
export function encodeMutation(
  base: typeof PeerType.write | typeof PeerType.replicaWrite,
  address: ObjectAddress,
  mutation: Mutation,
): PeerMessage {
  const message = addressed(base + kindOffset(mutation.kind), address);
  message.parent = mutation.parent;
  message.offset = mutation.offset;
  message.length = mutation.length;
  message.payload = mutation.data;
  sumUp(mutation);
  message.payloadCrc = mutation.dataCrc ?? 0;
  message.payloadSums = mutation.dataSums;
  message.flags =
    (mutation.sync ? PeerFlag.sync : 0) |
    (mutation.allocate ? PeerFlag.allocate : 0) |
    (mutation.whole ? PeerFlag.whole : 0) |
    (modes.indexOf(mutation.mode) << PeerFlag.modeShift);
  return message;
}

/** The checksums of its data, if they are not known yet: for all who are sent it, and for this node's own store. */
export function sumUp(mutation: Mutation): void {
  const { offset, data } = mutation;
  if (data.length === 0 || mutation.dataCrc) return;
  if (areBlocks(offset, data.length)) mutation.dataSums ??= blockSums(data);
  mutation.dataCrc = mutation.dataSums === undefined ? crc32(data) : joinSums(mutation.dataSums);
}

export function decodeMutation(
  base: number,
  message: PeerMessage,
): { address: ObjectAddress; mutation: Mutation } {
  const address = addressOf(message);
  const kind = (['write', 'zero', 'remove'] as const)[(message.type - base) / 2]!;
  if (kind === 'write' && message.payload.length !== message.length) {
    throw new AppError('invalid', 'a write carries another number of bytes than it says');
  }
  const mode = modes[(message.flags & PeerFlag.modeMask) >> PeerFlag.modeShift]!;
  if (mode === 'cow' && (invalidOid(message.parent) !== undefined || message.parent === address.oid)) {
    throw new AppError('invalid', 'the parent of a copy is not another object');
  }
  return {
    address,
    mutation: {
      kind,
      mode,
      parent: message.parent,
      offset: message.offset,
      length: message.length,
      data: message.payload,
      allocate: (message.flags & PeerFlag.allocate) !== 0,
      sync: (message.flags & PeerFlag.sync) !== 0,
      whole: (message.flags & PeerFlag.whole) !== 0,
      dataCrc: message.payloadCrc ?? 0,
      dataSums: message.payloadSums,
    },
  };
}

/** `sums`: of the whole object. */
export function encodeSpoiled(blocks: readonly number[], sums: Uint32Array): Uint8Array {
  return new Uint8Array(Uint32Array.from(blocks.flatMap((block) => [block, sums[block]!])).buffer);
}

export function decodeSpoiled(payload: Uint8Array): { blocks: number[]; sums: number[] } {
  if (payload.length % 8 !== 0) throw new AppError('invalid', 'a list of spoiled blocks is cut short');
  const table = new Uint32Array(new Uint8Array(payload).buffer);
  return { blocks: [...table.filter((_, i) => i % 2 === 0)], sums: [...table.filter((_, i) => i % 2 === 1)] };
}

export function addressed(type: PeerType, address: ObjectAddress): PeerMessage {
  const message = emptyMessage(type);
  message.oid = address.oid;
  message.root = address.root;
  message.copies = address.copies;
  message.objectShift = address.objectShift;
  return message;
}

/** The object a message speaks of, checked together with the message's range. */
export function addressOf(message: PeerMessage): ObjectAddress {
  const { oid, root, copies, objectShift } = message;
  const address = { oid, root, copies, objectShift };
  checkAddress(address, message.offset, message.length);
  return address;
}

function kindOffset(kind: Mutation['kind']): number {
  return kind === 'write' ? 0 : kind === 'zero' ? 2 : 4;
}
