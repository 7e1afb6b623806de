/**
 * Opening the disks of a node. In this order: what belongs together (disk-record.ts), each disk's own recovery, moves
 * that a crash cut short, the record of what is different now; only then is the first request served. A crash in here
 * leaves disks that open the same way again.
 */
import { AppError } from '../../base/errors.js';
import { type Disk, DiskError } from '../disk.js';
import { openStore, type StoreOptions } from '../open-store.js';
import { readSuperblock } from '../superblock.js';
import { type DiskRecord, type FoundDisk, judgeDisks, markWaiting, readDiskRecord } from './disk-record.js';
import { DiskSet } from './disk-set.js';
import { Member } from './member.js';
import { endMoves, prepareMoving } from './object-copy.js';
import type { RootOf } from './placement.js';
import { defaultPace, type RebalancePace } from './rebalancer.js';

export interface NamedDisk {
  /** As an administrator knows it. */
  readonly name: string;
  /** A function where opening the disk can fail by itself. */
  readonly disk: Disk | (() => Disk);
}

export interface DiskSetOptions extends Omit<StoreOptions, 'disk' | 'failureCode'> {
  readonly disks: readonly NamedDisk[];
  /** Sixteen hexadecimal digits that nobody drew before. */
  readonly newId: () => string;
  /** Root of a volume's family, as far as it is known now: see placement.ts. */
  readonly rootOf?: RootOf;
  /** What a disk of the set that is not there means: 'refuse' (the default), or 'drop': it is lost for good. */
  readonly missing?: 'refuse' | 'drop';
  readonly pace?: RebalancePace;
}

export interface OpenedDiskSet {
  readonly set: DiskSet;
  /** Named in the options, but lost or taken out before: what lies on them is old. They are not used. */
  readonly stale: readonly string[];
}

interface Candidate extends FoundDisk {
  readonly name: string;
  readonly disk: Disk;
}

/**
 * AppError 'missing' (a disk of the set is not there, or cannot be opened) | 'system' (disks that do not belong
 * together) | those of openStore.
 */
export async function openDiskSet(options: DiskSetOptions): Promise<OpenedDiskSet> {
  const log = options.log.child('disks');
  const unusable: { name: string; error: AppError }[] = [];
  const candidates = options.disks.flatMap((named) => lookAt(named, unusable));
  const verdict = judgeDisks(candidates);
  if (verdict.kind === 'refuse') throw new AppError('system', verdict.reason);
  const { parts, record } = verdict;
  const stale = candidates.filter((_, i) => parts[i] === 'stale').map(({ name }) => name);
  const joining = candidates.filter((_, i) => parts[i] === 'joining');
  const missing = new Set(verdict.missing);
  checkMissing(options, missing.size, unusable);

  const usable = candidates.filter((_, i) => parts[i] !== 'stale');
  const needsRecords = record !== undefined || usable.length > 1;
  const members: Member[] = [];
  for (const candidate of usable) {
    const isNew = joining.includes(candidate);
    const id = candidate.record?.id ?? options.newId();
    if (needsRecords && candidate.record === undefined) await markWaiting(candidate.disk, id);
    const entry = record?.members.find((member) => member.id === id);
    try {
      members.push(await openMember(options, candidate, id, entry));
    } catch (error) {
      if (isNew || !isOfDisk(error) || usable.length === 1) throw error;
      unusable.push({ name: candidate.name, error: AppError.from(error, 'io') });
      missing.add(id);
      checkMissing(options, missing.size, unusable);
    }
  }
  if (members.length === 0) throw unusable[0]?.error ?? new AppError('missing', 'no disk to keep objects on');
  await finishMoves(members, log);
  for (const { name, error } of unusable)
    log.error({ disk: name, err: error.message }, 'a disk cannot be used');
  for (const name of stale)
    log.warn({ disk: name }, 'this disk was dropped or taken out before: it is not used');
  if (missing.size > 0)
    log.error({ disks: missing.size }, 'going on without disks: objects are missing here');

  const incomplete = record?.incomplete === true || missing.size > 0;
  const set = new DiskSet({
    members,
    clock: options.clock,
    log,
    rootOf: options.rootOf ?? (() => undefined),
    generation: record?.generation ?? 0,
    incomplete,
    pace: options.pace ?? defaultPace,
  });
  if (members.length > 1) for (const { disk } of members) await prepareMoving(disk);
  if (differs(record, members, incomplete)) await set.roster.record.save();
  if (members.length > 1) set.rebalancer.wake();
  return { set, stale };
}

/** Opens one disk's store; it is a member of no set yet. */
export async function openMember(
  options: Pick<DiskSetOptions, 'clock' | 'log' | 'identity' | 'bootId' | 'limits'>,
  { name, disk }: { name: string; disk: Disk },
  id: string,
  entry?: { weight: number; leaving?: boolean },
): Promise<Member> {
  const { clock, log, identity, bootId, limits } = options;
  const common = { disk, clock, log, identity, bootId, failureCode: 'again' as const };
  const store = await openStore({ ...common, ...(limits && { limits }) });
  return new Member(id, name, disk, store, weightOf(disk, entry?.weight), entry?.leaving);
}

/** A file system that has grown or shrunk a little is no reason to move objects. */
function weightOf(disk: Disk, before: number | undefined): number {
  const { totalBytes } = disk.space();
  return before !== undefined && Math.abs(totalBytes - before) < before / 10 ? before : totalBytes;
}

function lookAt(
  { name, disk: given }: NamedDisk,
  unusable: { name: string; error: AppError }[],
): Candidate[] {
  try {
    const disk = typeof given === 'function' ? given() : given;
    return [{ name, disk, record: readDiskRecord(disk), hasStore: readSuperblock(disk) !== undefined }];
  } catch (error) {
    if (!isOfDisk(error)) throw error;
    unusable.push({ name, error: AppError.from(error, 'io') });
    return [];
  }
}

/** It speaks of this disk, and not of a mistake of the administrator's. */
function isOfDisk(error: unknown): boolean {
  return (
    error instanceof DiskError || AppError.isCode(error, 'io', 'read-only', 'system', 'no-space', 'missing')
  );
}

function checkMissing(
  options: DiskSetOptions,
  missing: number,
  unusable: readonly { name: string; error: AppError }[],
): void {
  if (options.missing === 'drop') return;
  const reasons = unusable.map(({ name, error }) => `${name} (${error.message})`).join(', ');
  if (missing > 0) {
    const text =
      missing === 1 ? 'a disk of this node is missing' : `${missing} disks of this node are missing`;
    throw new AppError('missing', reasons === '' ? text : `${text}: ${reasons}`);
  }
  // Nobody knows whether it is one of the set: a mistyped path must not pass for a lost disk, nor a lost one for that.
  if (unusable.length > 0) throw new AppError('missing', `a disk cannot be used: ${reasons}`);
}

async function finishMoves(members: readonly Member[], log: DiskSetOptions['log']): Promise<void> {
  const { adopted, dropped } = await endMoves(members.map(({ disk }) => disk));
  if (adopted + dropped > 0)
    log.info({ adopted, dropped }, 'moves between disks that were cut short are ended');
}

/** What is on record is not what the set is now. */
function differs(record: DiskRecord | undefined, members: readonly Member[], incomplete: boolean): boolean {
  if (record === undefined) return members.length > 1;
  const entries = members.map(({ entry }) => entry);
  const known = [...record.members].sort((a, b) => (a.id < b.id ? -1 : 1));
  entries.sort((a, b) => (a.id < b.id ? -1 : 1));
  return incomplete !== record.incomplete || JSON.stringify(known) !== JSON.stringify(entries);
}
