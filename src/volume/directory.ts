import { AppError } from '../base/errors.js';
import type { ObjectAddress } from '../cluster/epochs/address.js';
import { Mirror } from '../cluster/epochs/mirror.js';
import type { Coordinator } from '../coord/coordinator.js';
import { inodeOid, vidOf } from '../wire/oid.js';
import {
  keys,
  type LineRecord,
  OWNER_PREFIX,
  type OwnerRecord,
  type Usage,
  type VdiRecord,
  VOLUME_PREFIX,
  vidOfKey,
} from './records.js';

/** A version of a volume as people name it. */
export interface VersionName {
  readonly name: string;
  readonly tag?: string | undefined;
  readonly snapId?: number | undefined;
}

/** Where a version's record puts it. */
interface Place {
  readonly line: string;
  readonly root: number;
}

/**
 * A live copy of all volume records, with the look-ups that everything above needs. What one change costs does not grow
 * with the number of volumes, nor does looking up a volume, its snapshots or its family.
 */
export class Directory {
  private readonly volumes: Mirror;
  private readonly ownerMirror: Mirror;
  private readonly parsed = new Map<string, { text: string; value: unknown }>();
  private readonly places = new Map<number, Place>();
  private readonly vidsOfLine = new Map<string, Set<number>>();
  private readonly vidsOfRoot = new Map<number, Set<number>>();
  /** Told of every version whose record goes. */
  onGone: (vid: number) => void = () => {};

  constructor(private readonly coordinator: Coordinator) {
    this.volumes = new Mirror(coordinator, VOLUME_PREFIX, (changed) => this.volumesChanged(changed));
    this.ownerMirror = new Mirror(coordinator, OWNER_PREFIX, (changed) => this.forgetParsed(changed));
  }

  async start(): Promise<void> {
    await this.volumes.start();
    for (const key of this.volumes.entries.keys()) this.place(key);
    await this.ownerMirror.start();
  }

  stop(): void {
    this.volumes.stop();
    this.ownerMirror.stop();
  }

  /** Waits until this copy shows what a transaction wrote. */
  seen(revision: number): Promise<void> {
    return this.volumes.seen(revision);
  }

  vdi(vid: number): VdiRecord | undefined {
    return this.value<VdiRecord>(this.volumes, keys.vdi(vid));
  }

  vdis(): VdiRecord[] {
    return this.records(this.places.keys());
  }

  line(id: string): LineRecord | undefined {
    return this.value<LineRecord>(this.volumes, keys.line(id));
  }

  /** The same; AppError 'no-vdi' when it is gone. */
  existingLine(id: string): LineRecord {
    const line = this.line(id);
    if (line === undefined) throw new AppError('no-vdi', 'No VDI found');
    return line;
  }

  lines(): LineRecord[] {
    return this.all<LineRecord>('v/line/');
  }

  lineOf(name: string): LineRecord | undefined {
    const id = this.volumes.entries.get(keys.name(name));
    return id === undefined ? undefined : this.line(id);
  }

  usage(vid: number): Usage | undefined {
    return this.value<Usage>(this.volumes, keys.usage(vid));
  }

  owner(line: string): OwnerRecord | undefined {
    return this.value<OwnerRecord>(this.ownerMirror, keys.owner(line));
  }

  /** Every version of one family, deleted and pending ones too. */
  family(root: number): Map<number, VdiRecord> {
    return new Map(this.records(this.vidsOfRoot.get(root) ?? []).map((r) => [r.vid, r]));
  }

  /** The working version of a line and its snapshots, deleted and pending ones too. */
  versionsOf(line: string): VdiRecord[] {
    return this.records(this.vidsOfLine.get(line) ?? []);
  }

  /** The version people mean: 'no-vdi' when there is no such volume, 'no-tag' when it has no such snapshot. */
  find(version: VersionName): VdiRecord {
    const line = this.lineOf(version.name);
    const tagged = version.tag !== undefined || version.snapId !== undefined;
    if (line === undefined) throw new AppError('no-vdi', 'No VDI found');
    if (!tagged) {
      const working = this.vdi(line.vid);
      if (working?.state === 'live') return working;
      throw new AppError('no-vdi', 'No VDI found');
    }
    const snapshots = this.versionsOf(line.id).filter((r) => r.snapshotMs > 0 && r.state === 'live');
    // Either is enough, and the newest counts (reference, section 6.1).
    const isMeant = (r: VdiRecord) =>
      (version.tag !== undefined && version.tag !== '' && r.tag === version.tag) ||
      r.snapId === version.snapId;
    const found = snapshots.sort((a, b) => b.snapId - a.snapId).find(isMeant);
    if (found === undefined) throw new AppError('no-tag', 'Failed to find requested tag');
    return found;
  }

  /** Like find; but what is missing here is looked for afresh before it counts as missing. */
  async findNow(version: VersionName): Promise<VdiRecord> {
    try {
      return this.find(version);
    } catch (error) {
      if (!AppError.isCode(error, 'no-vdi', 'no-tag')) throw error;
    }
    await this.volumes.catchUp();
    return this.find(version);
  }

  /** Waits until this copy shows every record that exists now. */
  catchUp(): Promise<void> {
    return this.volumes.catchUp();
  }

  /** The record as it is stored now, when this copy has not seen it: one look-up, whoever invents ids. */
  async vdiNow(vid: number): Promise<VdiRecord | undefined> {
    const kv = await this.coordinator.get(keys.vdi(vid));
    if (kv === undefined) return undefined;
    await this.volumes.seen(kv.modRevision);
    return this.vdi(vid);
  }

  /**
   * For whoever misses something of a version: 'no-tag' (an image: 'no-vdi') when that is because it has been deleted,
   * which this copy may not show yet. Its vid may be another one's by now.
   */
  async confirmLive({ vid, line, createdMs, snapshotMs }: VdiRecord): Promise<void> {
    const kv = await this.coordinator.get(keys.vdi(vid));
    const now = kv === undefined ? undefined : (JSON.parse(kv.value) as VdiRecord);
    if (now?.state === 'live' && now.line === line && now.createdMs === createdMs) return;
    if (snapshotMs > 0) throw new AppError('no-tag', 'the snapshot has been deleted meanwhile');
    throw new AppError('no-vdi', 'this version has been deleted');
  }

  /** Where an object known by its id alone lies. A vid not seen here is looked up afresh before it counts as gone. */
  async resolve(oid: bigint): Promise<ObjectAddress | undefined> {
    const vid = vidOf(oid);
    let record = this.vdi(vid);
    if (record === undefined) {
      const kv = await this.coordinator.get(keys.vdi(vid));
      record = kv === undefined ? undefined : (JSON.parse(kv.value) as VdiRecord);
    }
    return record === undefined ? undefined : addressIn(record, oid);
  }

  private value<T>(mirror: Mirror, key: string): T | undefined {
    const text = mirror.entries.get(key);
    if (text === undefined) return undefined;
    const known = this.parsed.get(key);
    if (known?.text === text) return known.value as T;
    const value = JSON.parse(text) as T;
    this.parsed.set(key, { text, value });
    return value;
  }

  private all<T>(prefix: string): T[] {
    const result: T[] = [];
    for (const key of this.volumes.entries.keys()) {
      if (key.startsWith(prefix)) result.push(this.value<T>(this.volumes, key)!);
    }
    return result;
  }

  private records(vids: Iterable<number>): VdiRecord[] {
    return Array.from(vids, (vid) => this.vdi(vid)!);
  }

  private volumesChanged(changed: readonly string[]): void {
    this.forgetParsed(changed);
    for (const key of changed) this.place(key);
    for (const key of changed) {
      const vid = vidOfKey(key);
      if (vid !== undefined && !this.volumes.entries.has(key)) this.onGone(vid);
    }
  }

  private forgetParsed(changed: readonly string[]): void {
    for (const key of changed) this.parsed.delete(key);
  }

  /** Notes where the version of this key belongs now, if it is one. */
  private place(key: string): void {
    const vid = vidOfKey(key);
    if (vid === undefined) return;
    const before = this.places.get(vid);
    const now = this.vdi(vid);
    if (before !== undefined && before.line === now?.line && before.root === now.root) return;
    if (before !== undefined) {
      takeOut(this.vidsOfLine, before.line, vid);
      takeOut(this.vidsOfRoot, before.root, vid);
      this.places.delete(vid);
    }
    if (now === undefined) return;
    this.places.set(vid, { line: now.line, root: now.root });
    putIn(this.vidsOfLine, now.line, vid);
    putIn(this.vidsOfRoot, now.root, vid);
  }
}

function putIn<K>(sets: Map<K, Set<number>>, key: K, vid: number): void {
  const set = sets.get(key);
  if (set === undefined) sets.set(key, new Set([vid]));
  else set.add(vid);
}

function takeOut<K>(sets: Map<K, Set<number>>, key: K, vid: number): void {
  const set = sets.get(key);
  set?.delete(vid);
  if (set?.size === 0) sets.delete(key);
}

/** The address of an object of this version's family. */
export function addressIn(record: VdiRecord, oid: bigint): ObjectAddress {
  return { oid, root: record.root, copies: record.copies, objectShift: record.blockSizeShift };
}

export function inodeAddress(record: VdiRecord): ObjectAddress {
  return addressIn(record, inodeOid(record.vid));
}
