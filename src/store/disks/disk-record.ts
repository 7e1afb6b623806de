/**
 * What each disk of a set knows of the set: the sealed text file `disks` (small-file.ts) beside the superblock.
 *
 *     sheepfold-disks 1
 *     {"id":"9f..","generation":4,"incomplete":false,"members":[{"id":"9f..","weight":500107862016}, ...]}
 *     <CRC-32 of the two lines>
 *
 * A change of the set is written to every disk with the next generation; the highest one found counts. A disk that it
 * does not name was dropped or taken out: what lies on it is old. Generation 0 says that a disk waits to be taken in.
 * A node with one disk that never had another has no such file.
 */
import { AppError } from '../../base/errors.js';
import type { Disk } from '../disk.js';
import { readSmall, replaceSmall, sealText, unsealText } from '../small-file.js';

export const DISK_RECORD_VERSION = 1;
export const DISK_RECORD_PATH = 'disks';

export interface MemberEntry {
  /** Sixteen hexadecimal digits, drawn when the disk joins. */
  readonly id: string;
  /** Bytes of the file system, when the disk joined: its part of the objects. */
  readonly weight: number;
  /** The disk is being emptied: it gets nothing new. */
  readonly leaving?: boolean;
}

export interface DiskRecord {
  /** Of the disk on which the record lies. */
  readonly id: string;
  readonly generation: number;
  /** A disk was lost, and the cluster has not given its objects back yet. */
  readonly incomplete: boolean;
  readonly members: readonly MemberEntry[];
}

export function encodeDiskRecord({ id, generation, incomplete, members }: DiskRecord): Buffer {
  const fields = JSON.stringify({ id, generation, incomplete, members });
  return sealText(`sheepfold-disks ${DISK_RECORD_VERSION}\n${fields}\n`);
}

/** AppError 'system' (damaged) | 'version' (of a newer program). */
export function decodeDiskRecord(bytes: Buffer): DiskRecord {
  const version = /^sheepfold-disks (\d+)\n/.exec(bytes.toString('latin1', 0, 64));
  if (version && Number(version[1]) > DISK_RECORD_VERSION) {
    throw new AppError('version', `the record of the disks has format ${version[1]}`);
  }
  const text = version ? unsealText(bytes) : undefined;
  if (text === undefined) throw new AppError('system', 'the record of the disks is damaged');
  return JSON.parse(text.slice(text.indexOf('\n') + 1)) as DiskRecord;
}

/** Undefined when the disk never was one of several. */
export function readDiskRecord(disk: Disk): DiskRecord | undefined {
  const bytes = readSmall(disk, DISK_RECORD_PATH);
  return bytes && decodeDiskRecord(bytes);
}

/** Durable when it resolves. */
export function writeDiskRecord(disk: Disk, record: DiskRecord): Promise<void> {
  return replaceSmall(disk, DISK_RECORD_PATH, encodeDiskRecord(record));
}

/** The disk is about to be taken in. Every disk gets this before any of them gets a record of the set. */
export function markWaiting(disk: Disk, id: string): Promise<void> {
  return writeDiskRecord(disk, { id, generation: 0, incomplete: false, members: [] });
}

/** What was found on one disk when the node starts. */
export interface FoundDisk {
  readonly record: DiskRecord | undefined;
  /** There is a superblock. */
  readonly hasStore: boolean;
}

/**
 * What a disk is for the set that is opened.
 * member: as before. joining: empty, or was just being taken in. stale: was dropped or taken out; not to be used.
 */
export type DiskPart = 'member' | 'joining' | 'stale';

export type SetVerdict =
  /** Opened as it is; `missing`: ids of members that are not there. */
  | { kind: 'open'; parts: readonly DiskPart[]; record: DiskRecord | undefined; missing: readonly string[] }
  | { kind: 'refuse'; reason: string };

/** The decision about what was found, over all disks. Pure and total; see the test for its table. */
export function judgeDisks(found: readonly FoundDisk[]): SetVerdict {
  const record = newestRecord(found);
  const alone = found.filter((disk) => disk.record === undefined && disk.hasStore).length;
  if (record === undefined) {
    // The first start, or the first one with more disks than the one that was there.
    if (alone > 1) return refuse('several disks have stores that know nothing of each other');
    const parts = found.map(({ hasStore, record: own }) =>
      own === undefined && hasStore ? 'member' : 'joining',
    );
    return { kind: 'open', parts, record, missing: [] };
  }
  if (alone > 0) return refuse('a disk has a store that does not belong to the other disks');
  const ids = new Set(record.members.map((member) => member.id));
  const parts = found.map((disk): DiskPart => partIn(ids, disk));
  const present = found.map((disk) => disk.record?.id);
  if (new Set(present.filter(Boolean)).size < present.filter(Boolean).length) {
    return refuse('one disk is named twice, or was copied');
  }
  return { kind: 'open', parts, record, missing: [...ids].filter((id) => !present.includes(id)) };
}

function partIn(members: ReadonlySet<string>, { record }: FoundDisk): DiskPart {
  if (record === undefined) return 'joining';
  if (members.has(record.id)) return 'member';
  // Generation 0: it was prepared, perhaps with an empty store, and the record that takes it in was written nowhere.
  return record.generation === 0 ? 'joining' : 'stale';
}

function newestRecord(found: readonly FoundDisk[]): DiskRecord | undefined {
  let newest: DiskRecord | undefined;
  for (const { record } of found) {
    if (record && record.generation > (newest?.generation ?? 0)) newest = record;
  }
  return newest;
}

function refuse(reason: string): SetVerdict {
  return { kind: 'refuse', reason };
}
