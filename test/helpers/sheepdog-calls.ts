/**
 * The operations of the sheepdog protocol as calls, with the fields that clients fill in. Every call resolves with
 * whatever result the server gives; `ok()` and `mustBe()` insist on one.
 */
import { clusterDefaultResponse, objRequest, vdiRequest, vdiResponse } from '../../src/wire/headers.js';
import {
  INODE_CLIENT_BYTES,
  INODE_HEADER_BYTES,
  INODE_INDEX_OFFSET,
  type InodeHeader,
  indexEntryOffset,
  inodeHeader,
} from '../../src/wire/inode.js';
import { dataOid, inodeOid } from '../../src/wire/oid.js';
import { attribute } from '../../src/wire/records.js';
import { Flag, nameOfOpcode, nameOfResult, Op, Result, VDI_BITMAP_BYTES } from '../../src/wire/sheepdog.js';
import { type Address, type RawRequest, type Reply, SheepdogClient } from './sheepdog-client.js';

const NAME_BYTES = 256;

export type Send = (request: RawRequest) => Promise<Reply>;

/** Sends every request on a connection of its own, as QEMU does with all that is not the guest's I/O. */
export function freshConnections(address: Address, onSent?: (frame: Buffer) => void): Send {
  return async (request) => {
    const client = await SheepdogClient.connect(address, { onSent });
    try {
      return await client.request(request);
    } finally {
      client.close();
    }
  };
}

/** The reply, when its result is the wanted one. */
export function mustBe<R extends { readonly reply: Reply }>(answer: R, result: number): R {
  const { reply } = answer;
  if (reply.result !== result) {
    throw new Error(
      `${nameOfOpcode(reply.opcode)}: ${nameOfResult(reply.result)}, not ${nameOfResult(result)}`,
    );
  }
  return answer;
}

export function ok<R extends { readonly reply: Reply }>(answer: R): R {
  return mustBe(answer, Result.SUCCESS);
}

export interface Plain {
  readonly reply: Reply;
  readonly result: number;
  readonly payload: Buffer;
}

export interface VdiAnswer extends Plain {
  readonly vid: number;
  readonly attrId: number;
  readonly copies: number;
  readonly blockSizeShift: number;
}

export interface VdiName {
  readonly name: string | Buffer;
  readonly tag?: string | Buffer;
  readonly snapId?: number;
  readonly type?: number;
}

export interface NewVdi {
  readonly name: string | Buffer;
  readonly sizeBytes?: number | bigint;
  readonly baseVid?: number;
  readonly copies?: number;
  readonly copyPolicy?: number;
  readonly storePolicy?: number;
  readonly blockSizeShift?: number;
  /** Not 0: a snapshot. */
  readonly snapId?: number;
}

export interface ObjectOptions {
  readonly flags?: number;
  readonly copies?: number;
  readonly version?: number;
  readonly id?: number;
}

/** Name, and tag when there is one, each in its field of 256 bytes. */
export function namePayload(name: string | Buffer, tag?: string | Buffer): Buffer {
  const out = Buffer.alloc(tag === undefined ? NAME_BYTES : 2 * NAME_BYTES);
  Buffer.from(name).copy(out, 0, 0, NAME_BYTES);
  if (tag !== undefined) Buffer.from(tag).copy(out, NAME_BYTES, 0, NAME_BYTES);
  return out;
}

function plain(reply: Reply): Plain {
  return { reply, result: reply.result, payload: reply.payload };
}

function vdiAnswer(reply: Reply): VdiAnswer {
  const { vid, attrId, copies, blockSizeShift } = vdiResponse.decode(reply.header);
  return { ...plain(reply), vid, attrId, copies, blockSizeShift };
}

/** QEMU's requests carry version 0 but for three operations; `dog` sends 2 everywhere. */
export class SheepdogCalls {
  constructor(readonly send: Send) {}

  // --- volumes

  async newVdi(vdi: NewVdi): Promise<VdiAnswer> {
    const { sizeBytes = 0, ...rest } = vdi;
    const fields = vdiRequest.encode({ ...rest, vdiSize: BigInt(sizeBytes) });
    return vdiAnswer(await this.send({ opcode: Op.NEW_VDI, fields, payload: namePayload(vdi.name) }));
  }

  getVdiInfo(vdi: VdiName): Promise<VdiAnswer> {
    return this.byName(Op.GET_VDI_INFO, vdi);
  }

  lock(vdi: VdiName): Promise<VdiAnswer> {
    return this.byName(Op.LOCK_VDI, vdi);
  }

  /** Deletes the working VDI, or the snapshot that tag or id name. */
  delVdi(vdi: VdiName): Promise<VdiAnswer> {
    return this.byName(Op.DEL_VDI, vdi);
  }

  /** QEMU sends the name with it, tgt and `dog` do not. */
  async release(vid: number, options: { name?: string; type?: number } = {}): Promise<Plain> {
    const fields = vdiRequest.encode({ baseVid: vid, type: options.type ?? 0 });
    const payload = options.name === undefined ? undefined : Buffer.from(`${options.name}\0`);
    return plain(
      await this.send({ opcode: Op.RELEASE_VDI, version: 0, fields, ...(payload && { payload }) }),
    );
  }

  async readVdis(opcode: number = Op.READ_VDIS, dataLength = VDI_BITMAP_BYTES): Promise<Plain> {
    const version = opcode < 0x80 ? { version: 0 } : {};
    return plain(await this.send({ opcode, dataLength, ...version }));
  }

  async clusterDefault(): Promise<{ copies: number; copyPolicy: number; blockSizeShift: number } & Plain> {
    const reply = await this.send({ opcode: Op.GET_CLUSTER_DEFAULT, version: 1 });
    const { copies, copyPolicy, blockSizeShift } = clusterDefaultResponse.decode(reply.header);
    return { ...plain(reply), copies, copyPolicy, blockSizeShift };
  }

  /** GET_VDI_ATTR: `flags` are CREAT, EXCL, DEL or none. The answer's attrId is the key's object. */
  async attribute(
    record: { name: string; tag?: string; snapId?: number; key: string; value?: Buffer },
    flags = 0,
  ): Promise<VdiAnswer> {
    const value = record.value ?? Buffer.alloc(0);
    const payload = attribute.encode({ ...record, value, valueLength: value.length });
    const fields = vdiRequest.encode({ snapId: record.snapId ?? 0 });
    return vdiAnswer(
      await this.send({ opcode: Op.GET_VDI_ATTR, flags: Flag.WRITE | flags, fields, payload }),
    );
  }

  // --- objects

  async readObj(
    oid: bigint,
    offset: number,
    length: number,
    { copies = 0, ...options }: ObjectOptions = {},
  ): Promise<Plain> {
    const fields = objRequest.encode({ oid, offset, copies });
    return plain(
      await this.send({ opcode: Op.READ_OBJ, version: 0, dataLength: length, fields, ...options }),
    );
  }

  /** `flags` beside WRITE. */
  writeObj(oid: bigint, offset: number, payload: Buffer, options: ObjectOptions = {}): Promise<Plain> {
    return this.change(Op.WRITE_OBJ, { oid, offset, payload }, options);
  }

  /** Creates the object; with `cowOid` from a copy of that one. */
  createObj(
    oid: bigint,
    offset: number,
    payload: Buffer,
    { cowOid, flags = 0, ...options }: ObjectOptions & { cowOid?: bigint } = {},
  ): Promise<Plain> {
    const cow = cowOid === undefined ? {} : { cowOid };
    const all = flags | (cowOid === undefined ? 0 : Flag.COW);
    return this.change(Op.CREATE_AND_WRITE_OBJ, { oid, offset, payload, ...cow }, { ...options, flags: all });
  }

  async removeObj(oid: bigint): Promise<Plain> {
    return plain(await this.send({ opcode: Op.REMOVE_OBJ, fields: objRequest.encode({ oid }) }));
  }

  async discardObj(oid: bigint): Promise<Plain> {
    return plain(await this.send({ opcode: Op.DISCARD_OBJ, fields: objRequest.encode({ oid }) }));
  }

  async flush(vid: number): Promise<Plain> {
    const fields = objRequest.encode({ oid: inodeOid(vid) });
    return plain(await this.send({ opcode: Op.FLUSH_VDI, version: 0, fields }));
  }

  // --- inodes

  async readHeader(vid: number, lengthBytes = INODE_HEADER_BYTES): Promise<InodeHeader> {
    const { payload } = ok(await this.readObj(inodeOid(vid), 0, lengthBytes));
    return inodeHeader.decode(payload);
  }

  /** Header and index, as QEMU and tgt read them at open. */
  async readInode(
    vid: number,
    flags = 0,
  ): Promise<{ header: InodeHeader; bytes: Buffer; index: Uint32Array }> {
    const { payload } = ok(await this.readObj(inodeOid(vid), 0, INODE_CLIENT_BYTES, { flags }));
    const bytes = Buffer.from(payload);
    const index = new Uint32Array(bytes.subarray(INODE_INDEX_OFFSET).length / 4);
    for (let i = 0; i < index.length; i++) index[i] = bytes.readUInt32LE(indexEntryOffset(i));
    return { header: inodeHeader.decode(bytes), bytes, index };
  }

  async readIndex(vid: number, first: number, count: number): Promise<number[]> {
    const { payload } = ok(await this.readObj(inodeOid(vid), indexEntryOffset(first), count * 4));
    return Array.from({ length: count }, (_, i) => payload.readUInt32LE(4 * i));
  }

  writeIndex(
    vid: number,
    first: number,
    owners: readonly number[],
    options: ObjectOptions = {},
  ): Promise<Plain> {
    const payload = Buffer.alloc(owners.length * 4);
    for (const [i, owner] of owners.entries()) payload.writeUInt32LE(owner, 4 * i);
    return this.writeObj(inodeOid(vid), indexEntryOffset(first), payload, options);
  }

  /** What the volume holds, read as a client does: by the index in its inode. */
  async readData(vid: number, index: number, offset: number, length: number): Promise<Buffer> {
    const [owner] = await this.readIndex(vid, index, 1);
    if (owner === 0) return Buffer.alloc(length);
    return ok(await this.readObj(dataOid(owner!, index), offset, length)).payload;
  }

  private async byName(opcode: number, { name, tag, snapId, type }: VdiName): Promise<VdiAnswer> {
    const fields = vdiRequest.encode({ snapId: snapId ?? 0, type: type ?? 0 });
    // QEMU names the version here, and only here.
    const payload = namePayload(name, tag ?? '');
    return vdiAnswer(await this.send({ opcode, version: 1, fields, payload }));
  }

  private async change(
    opcode: number,
    { payload, ...rest }: { oid: bigint; cowOid?: bigint; offset: number; payload: Buffer },
    { flags = 0, copies = 0, ...options }: ObjectOptions,
  ): Promise<Plain> {
    const fields = objRequest.encode({ ...rest, copies });
    return plain(
      await this.send({ opcode, version: 0, fields, payload, flags: flags | Flag.WRITE, ...options }),
    );
  }
}
