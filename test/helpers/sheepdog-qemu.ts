/**
 * Sends what QEMU 5.2's sheepdog driver sends, message by message, for each operation of the reference's table 6.11:
 * its cached inode, its long-lived I/O connection (A), its fresh connections (n), its flags and versions. Unlike QEMU
 * it keeps every answer, and throws when one is not what QEMU can live with.
 */

import { sdHashVdi } from '../../src/wire/hash.js';
import { type InodeHeader, inodeHeader } from '../../src/wire/inode.js';
import { DATA_OBJECTS_MAX, dataOid, inodeOid, vmstateOid } from '../../src/wire/oid.js';
import { Flag, Result } from '../../src/wire/sheepdog.js';
import {
  freshConnections,
  ok,
  type Plain,
  SheepdogCalls,
  type VdiAnswer,
  type VdiName,
} from './sheepdog-calls.js';
import { type Address, SheepdogClient } from './sheepdog-client.js';

/** Used entries that QEMU zeroes with one message when it deletes a snapshot. */
const DISCARD_BATCH = 128;
const SNAPSHOTS_MAX = 1024;

export interface QemuOptions {
  readonly tag?: string;
  readonly snapId?: number;
  /** cache=none: DIRECT from the start, and no flushes. */
  readonly cacheNone?: boolean;
  readonly onSent?: ((frame: Buffer) => void) | undefined;
}

export interface SnapshotRow {
  readonly id: number;
  readonly tag: string;
  readonly vid: number;
  readonly vmStateSize: bigint;
}

/** Asks for the defaults when no object size is given, then creates; as `qemu-img create`. */
export async function qemuCreate(
  address: Address,
  vdi: { name: string; sizeBytes: number; blockSizeShift?: number; copies?: number; baseVid?: number },
  onSent?: (frame: Buffer) => void,
): Promise<VdiAnswer> {
  const fresh = new SheepdogCalls(freshConnections(address, onSent));
  const blockSizeShift = vdi.blockSizeShift ?? ok(await fresh.clusterDefault()).blockSizeShift;
  return fresh.newVdi({ ...vdi, blockSizeShift });
}

export class QemuImage {
  /** The I/O connection. */
  a: SheepdogCalls;
  /** One connection for each request. */
  readonly fresh: SheepdogCalls;
  header: InodeHeader;
  index: Uint32Array;
  isSnapshot: boolean;
  private cacheFlag: number;

  private constructor(
    private readonly address: Address,
    private client: SheepdogClient,
    private readonly options: QemuOptions,
    readonly name: string,
    inode: { header: InodeHeader; index: Uint32Array },
  ) {
    this.a = new SheepdogCalls((request) => this.client.request(request));
    this.fresh = new SheepdogCalls(freshConnections(address, options.onSent));
    this.header = inode.header;
    this.index = inode.index;
    this.isSnapshot = inode.header.snapTime !== 0n;
    this.cacheFlag = cacheFlagOf(options);
  }

  static async open(address: Address, name: string, options: QemuOptions = {}): Promise<QemuImage> {
    const { onSent } = options;
    const client = await SheepdogClient.connect(address, { onSent });
    const fresh = new SheepdogCalls(freshConnections(address, onSent));
    const { tag, snapId } = options;
    const version: VdiName = {
      name,
      ...(tag !== undefined && { tag }),
      ...(snapId !== undefined && { snapId }),
    };
    const { vid } = ok(await fresh.lock(version));
    const inode = await fresh.readInode(vid, cacheFlagOf(options));
    return new QemuImage(address, client, options, name, inode);
  }

  get vid(): number {
    return this.header.vid;
  }

  get objectBytes(): number {
    return 2 ** this.header.blockSizeShift;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const parts = this.partsOf(offset, length).map(async ({ index, from, bytes }) => {
      const owner = this.index[index]!;
      if (owner === 0) return Buffer.alloc(bytes);
      const options = { flags: this.cacheFlag, copies: this.header.copies };
      return ok(await this.a.readObj(dataOid(owner, index), from, bytes, options)).payload;
    });
    return Buffer.concat(await Promise.all(parts));
  }

  /** All objects of the request at once, then one message for the index entries that changed. */
  async write(offset: number, data: Buffer): Promise<void> {
    if (this.isSnapshot) await this.branch();
    const end = offset + data.length;
    if (BigInt(end) > this.header.vdiSize) await this.resize(end);
    const created: number[] = [];
    await Promise.all(
      this.partsOf(offset, data.length).map(async ({ index, from, bytes, at }) => {
        const payload = data.subarray(at, at + bytes);
        if (await this.writePart(index, from, payload)) created.push(index);
      }),
    );
    for (const index of created) this.index[index] = this.vid;
    if (created.length > 0) await this.writeIndex(Math.min(...created), Math.max(...created));
  }

  /** FLUSH_VDI; a server that answers INVALID_PARMS has no cache, and is not asked again. */
  async flush(): Promise<number | undefined> {
    if (this.cacheFlag !== Flag.CACHE) return undefined;
    const { result } = await this.a.flush(this.vid);
    if (result === Result.INVALID_PARMS) this.cacheFlag = Flag.DIRECT;
    else if (result !== Result.SUCCESS) throw new Error(`flush: result ${result}`);
    return result;
  }

  /** One whole object. */
  async discard(index: number): Promise<Plain | undefined> {
    if (this.index[index] === 0) return undefined;
    const answer = ok(
      await this.a.writeIndex(this.vid, index, [0], { flags: this.cacheFlag, copies: this.header.copies }),
    );
    this.index[index] = 0;
    return answer;
  }

  async resize(sizeBytes: number): Promise<void> {
    this.header = { ...this.header, vdiSize: BigInt(sizeBytes) };
    await this.writeHeader();
  }

  /** `savevm` and `qemu-img snapshot -c`: tag in the header, NEW_VDI, and on with the new vid. */
  async snapshot(tag: string, vmStateSize = 0n, vmClockNsec = 0n): Promise<VdiAnswer> {
    this.header = { ...this.header, tag, vmStateSize, vmClockNsec };
    await this.writeHeader();
    const answer = ok(await this.fresh.newVdi(this.newVdi(1)));
    this.header = await this.fresh.readHeader(answer.vid);
    return answer;
  }

  /** Before snapshot(): the machine's state, byte by byte from 0 on, each piece on its own connection. */
  async saveVmState(position: number, data: Buffer): Promise<void> {
    for (const { index, from, bytes, at } of this.partsOf(position, data.length)) {
      const oid = vmstateOid(this.vid, index);
      const payload = data.subarray(at, at + bytes);
      const options = { flags: this.cacheFlag, copies: this.header.copies };
      if (from === 0) ok(await this.fresh.createObj(oid, from, payload, options));
      else ok(await this.fresh.writeObj(oid, from, payload, options));
    }
  }

  /** After goto(): the state of the snapshot that the new working VDI was made from. */
  async loadVmState(position: number, length: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (const { index, from, bytes } of this.partsOf(position, length)) {
      const oid = vmstateOid(this.header.parentVid, index);
      pieces.push(ok(await this.fresh.readObj(oid, from, bytes, { flags: this.cacheFlag })).payload);
    }
    return Buffer.concat(pieces);
  }

  /** Probes from the hash of the name on, while vids are in use. */
  async listSnapshots(): Promise<SnapshotRow[]> {
    const { payload: bitmap } = ok(await this.fresh.readVdis());
    const rows: SnapshotRow[] = [];
    const isUsed = (vid: number) => (bitmap[vid >> 3]! & (1 << (vid & 7))) !== 0;
    for (let vid = sdHashVdi(this.name); isUsed(vid) && rows.length < SNAPSHOTS_MAX; vid++) {
      const header = await this.fresh.readHeader(vid);
      if (header.name !== this.name || header.snapTime === 0n) continue;
      rows.push({ id: header.snapId, tag: header.tag, vid: header.vid, vmStateSize: header.vmStateSize });
    }
    return rows;
  }

  /** `loadvm`, `qemu-img snapshot -a`. */
  async goto(to: { tag?: string; snapId?: number }): Promise<void> {
    const { vid } = ok(await this.fresh.getVdiInfo({ name: this.name, ...to }));
    this.header = await this.fresh.readHeader(vid);
    await this.branch();
  }

  /**
   * `qemu-img snapshot -d`: empties the index of the open volume (QEMU's mistake, D1), locks the snapshot, deletes it.
   * The answers of the three steps.
   */
  async deleteSnapshot(which: { tag?: string; snapId?: number }): Promise<VdiAnswer> {
    await this.emptyIndex();
    ok(await this.fresh.lock({ name: this.name, ...which }));
    return this.fresh.delVdi({ name: this.name, ...which });
  }

  /** The first message of deleteSnapshot(), on one connection. */
  async emptyIndex(): Promise<void> {
    const client = await SheepdogClient.connect(this.address, { onSent: this.options.onSent });
    const calls = new SheepdogCalls((request) => client.request(request));
    try {
      for (const { first, count } of this.usedRuns()) {
        const zeros = new Array<number>(count).fill(0);
        const options = { flags: this.cacheFlag, copies: this.header.copies };
        ok(await calls.writeIndex(this.vid, first, zeros, options));
        this.index.fill(0, first, first + count);
      }
    } finally {
      client.close();
    }
  }

  /** The connection breaks; QEMU connects again and locks nothing. */
  async reconnect(): Promise<void> {
    this.client.reset();
    this.client = await SheepdogClient.connect(this.address, { onSent: this.options.onSent });
  }

  async close(): Promise<Plain> {
    this.client.close();
    return this.fresh.release(this.vid, { name: this.name });
  }

  /** Ends without a word, as a killed QEMU does. */
  drop(): void {
    this.client.close();
  }

  /** From a snapshot a working VDI is made: the former one is deleted, NO_VDI counts as success. */
  async branch(): Promise<void> {
    const { result } = await this.fresh.delVdi({ name: this.name });
    const deleted = result === Result.SUCCESS || result === Result.NO_VDI;
    const { vid } = ok(await this.fresh.newVdi(this.newVdi(deleted ? 0 : 1)));
    const inode = await this.fresh.readInode(vid, this.cacheFlag);
    this.header = inode.header;
    this.index = inode.index;
    this.isSnapshot = false;
  }

  /** True: the object is new in this volume's index. */
  private async writePart(index: number, from: number, payload: Buffer): Promise<boolean> {
    for (;;) {
      const owner = this.index[index]!;
      const isNew = owner !== this.vid;
      const cow = isNew && owner !== 0 ? { cowOid: dataOid(owner, index) } : {};
      const options = { flags: this.cacheFlag, copies: this.header.copies, ...cow };
      const oid = dataOid(this.vid, index);
      const answer = isNew
        ? await this.a.createObj(oid, from, payload, options)
        : await this.a.writeObj(oid, from, payload, options);
      if (answer.result !== Result.READONLY) {
        ok(answer);
        return isNew;
      }
      await this.followSnapshot();
    }
  }

  /** Somebody has made a snapshot: only the header of the new working VDI is taken over. */
  private async followSnapshot(): Promise<void> {
    const { vid } = ok(await this.fresh.getVdiInfo({ name: this.name }));
    this.header = await this.fresh.readHeader(vid);
  }

  /** Entries in between that were not written are sent with their cached values, as QEMU does. */
  private async writeIndex(first: number, last: number): Promise<void> {
    const owners = Array.from(this.index.subarray(first, last + 1));
    const options = { flags: this.cacheFlag, copies: this.header.copies };
    ok(await this.a.writeIndex(this.vid, first, owners, options));
  }

  private async writeHeader(): Promise<void> {
    const options = { flags: this.cacheFlag, copies: this.header.copies };
    ok(await this.fresh.writeObj(inodeOid(this.vid), 0, inodeHeader.encode(this.header), options));
  }

  private newVdi(snapId: number) {
    const { vdiSize, copies, copyPolicy, blockSizeShift } = this.header;
    const { name, vid } = this;
    return { name, sizeBytes: vdiSize, baseVid: vid, copies, copyPolicy, blockSizeShift, snapId };
  }

  private usedRuns(): { first: number; count: number }[] {
    const runs: { first: number; count: number }[] = [];
    const end = Math.min(DATA_OBJECTS_MAX, Math.ceil(Number(this.header.vdiSize) / this.objectBytes));
    for (let i = 0; i < end; ) {
      while (i < end && this.index[i] === 0) i++;
      const first = i;
      for (let used = 0; i < end && used < DISCARD_BATCH; i++) if (this.index[i] !== 0) used++;
      if (i > first) runs.push({ first, count: i - first });
    }
    return runs;
  }

  private partsOf(
    offset: number,
    length: number,
  ): { index: number; from: number; bytes: number; at: number }[] {
    const parts = [];
    for (let at = 0; at < length; ) {
      const position = offset + at;
      const from = position % this.objectBytes;
      const bytes = Math.min(length - at, this.objectBytes - from);
      parts.push({ index: Math.floor(position / this.objectBytes), from, bytes, at });
      at += bytes;
    }
    return parts;
  }
}

function cacheFlagOf(options: QemuOptions): number {
  return options.cacheNone ? Flag.DIRECT : Flag.CACHE;
}
