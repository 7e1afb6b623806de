import { AppError } from '../../../src/base/errors.js';
import type { SeededRandom } from '../../../src/base/random.js';
import type { ObjectAddress } from '../../../src/cluster/epochs/address.js';
import type { Mutation } from '../../../src/cluster/objects/mutation.js';
import type { ObjectClient, Session } from '../../../src/cluster/objects/object-client.js';
import type { BlockRun } from '../../../src/store/object-store.js';
import type { VdiRecord } from '../../../src/volume/records.js';
import { VolumeDevice } from '../../../src/volume/volume-device.js';
import { readIndex, VolumeIndex, writeInode } from '../../../src/volume/volume-index.js';
import { INODE_BYTES } from '../../../src/wire/inode.js';
import { isInode } from '../../../src/wire/oid.js';

/** The unit of holes of this cluster: small, so that small volumes have all cases. */
export const BLOCK = 64;

/** One object: a plain buffer, and which blocks are allocated. */
interface FakeObject {
  readonly bytes: Buffer;
  readonly allocated: Set<number>;
}

/**
 * All objects of a cluster in memory, with the calls of ObjectClient. Each call takes effect at a random later turn,
 * so calls that were not waited for overtake each other, as calls to different nodes do.
 */
export class FakeClient {
  readonly objects = new Map<bigint, FakeObject>();
  /** Asked before each change; an error is thrown instead of it. */
  fault: (address: ObjectAddress, mutation: Mutation) => AppError | undefined = () => undefined;
  /** Holds a change back until it resolves. */
  gate: (address: ObjectAddress, mutation: Mutation) => Promise<void> | undefined = () => undefined;
  /** The same for what is only asked. */
  lookGate: (address: ObjectAddress) => Promise<void> | undefined = () => undefined;
  flushes = 0;
  inodeWrites = 0;
  cut = false;

  constructor(private readonly random: SeededRandom) {}

  /** As the class it stands for: it has its public calls, and none of its insides. */
  get client(): ObjectClient {
    return this as unknown as ObjectClient;
  }

  session(): Session {
    return { origin: { nodeId: 'self', incarnation: '1', closed: false } };
  }

  confirm(session: Session): void {
    if (this.cut || session.origin.closed) throw new AppError('again', 'the lease has run out');
  }

  async read(session: Session, address: ObjectAddress, offset: number, length: number): Promise<Uint8Array> {
    await this.lookGate(address);
    await this.later();
    this.confirm(session);
    const object = this.objects.get(address.oid);
    if (object === undefined) throw new AppError('no-object', 'no such object');
    if (offset + length > object.bytes.length) throw new AppError('invalid', 'outside the object');
    return Buffer.from(object.bytes.subarray(offset, offset + length));
  }

  async status(session: Session, address: ObjectAddress): Promise<BlockRun[] | undefined> {
    await this.lookGate(address);
    await this.later();
    this.confirm(session);
    const object = this.objects.get(address.oid);
    if (object === undefined) return undefined;
    const runs: { lengthBytes: number; hole: boolean }[] = [];
    for (let at = 0; at < object.bytes.length; at += BLOCK) {
      const hole = !object.allocated.has(at / BLOCK);
      const lengthBytes = Math.min(BLOCK, object.bytes.length - at);
      const last = runs.at(-1);
      if (last?.hole === hole) last.lengthBytes += lengthBytes;
      else runs.push({ lengthBytes, hole });
    }
    return runs;
  }

  async flush(session: Session): Promise<void> {
    await this.later();
    this.confirm(session);
    this.flushes++;
  }

  async change(session: Session, address: ObjectAddress, mutation: Mutation): Promise<void> {
    await this.gate(address, mutation);
    await this.later();
    this.confirm(session);
    const fault = this.fault(address, mutation);
    if (fault !== undefined) throw fault;
    if (isInode(address.oid)) this.inodeWrites++;
    this.apply(address, mutation);
  }

  private apply(address: ObjectAddress, mutation: Mutation): void {
    const { oid } = address;
    if (mutation.kind === 'remove') {
      this.objects.delete(oid);
      return;
    }
    const object = this.target(oid, isInode(oid) ? INODE_BYTES : 2 ** address.objectShift, mutation);
    const { offset, length } = mutation;
    if (offset + length > object.bytes.length) throw new AppError('invalid', 'outside the object');
    if (mutation.kind === 'write') object.bytes.set(mutation.data, offset);
    else object.bytes.fill(0, offset, offset + length);
    const first = Math.floor(offset / BLOCK);
    for (let block = first; block * BLOCK < offset + length; block++) {
      const whole = block * BLOCK >= offset && (block + 1) * BLOCK <= offset + length;
      if (mutation.kind === 'write' || mutation.allocate) object.allocated.add(block);
      else if (whole) object.allocated.delete(block);
    }
  }

  private target(oid: bigint, sizeBytes: number, mutation: Mutation): FakeObject {
    const present = this.objects.get(oid);
    const parent = this.objects.get(mutation.parent);
    if (mutation.mode === 'update' && present === undefined)
      throw new AppError('no-object', 'no such object');
    if (mutation.mode === 'cow' && parent === undefined) throw new AppError('no-object', 'no such parent');
    if (present !== undefined && (mutation.mode === 'update' || mutation.mode === 'ensure')) return present;
    const made: FakeObject =
      mutation.mode === 'cow'
        ? { bytes: Buffer.from(parent!.bytes), allocated: new Set(parent!.allocated) }
        : { bytes: Buffer.alloc(sizeBytes), allocated: new Set() };
    this.objects.set(oid, made);
    return made;
  }

  private async later(): Promise<void> {
    for (let turns = this.random.below(6); turns > 0; turns--) await Promise.resolve();
  }
}

export function versionRecord(vid: number, sizeBytes: number, fields: Partial<VdiRecord> = {}): VdiRecord {
  return {
    vid,
    line: '000000000001',
    tag: '',
    snapId: 1,
    parent: 0,
    root: 1,
    sizeBytes,
    copies: 3,
    blockSizeShift: 10,
    createdMs: 0,
    snapshotMs: 0,
    state: 'live',
    ...fields,
  };
}

/** Opens a version as its owner (or as a snapshot) does: with the index that its inode has now. */
export async function openVersion(
  fake: FakeClient,
  record: VdiRecord,
  options: {
    readOnly?: boolean;
    entriesFirst?: boolean;
    onReleased?: (index: number, owner: number) => void;
    confirmLive?: () => Promise<void>;
  } = {},
): Promise<VolumeDevice> {
  const session = fake.session();
  const entries = await readIndex(fake.client, session, record);
  return new VolumeDevice({
    client: fake.client,
    session,
    name: 'volume',
    record,
    index: new VolumeIndex(fake.client, session, record, entries),
    readOnly: options.readOnly ?? false,
    entriesFirst: options.entriesFirst ?? false,
    onReleased: options.onReleased ?? (() => {}),
    ...(options.confirmLive && { confirmLive: options.confirmLive }),
  });
}

export async function createVersion(fake: FakeClient, record: VdiRecord, index?: Uint32Array): Promise<void> {
  const empty = new Uint32Array(Math.ceil(record.sizeBytes / 2 ** record.blockSizeShift));
  await writeInode(fake.client, fake.session(), record, 'volume', index ?? empty);
}
