/**
 * Carries out what the journal holds, object by object. First all batches are laid over each other in memory, then
 * each object is brought to the result once: an older image must never overwrite newer bytes that went straight to
 * the object. Doing it twice gives the same (a crash in here is nothing special).
 *
 * Bytes of direct writes are only in the object. What is found there is matched against the checksums the block had,
 * newest first, back to the last one known to be durable: the first that fits is the block's content, unless an image
 * came after it. When nothing fits the block is bad and says so when it is read.
 */
import { BLOCK_SIZE, isZero } from '../base/bytes.js';
import type { Logger } from '../base/log.js';
import { BAD, blockChecksum, HOLE } from './checksum.js';
import { type Disk, DiskError, type DiskFile } from './disk.js';
import { type JournalRecord, recordTypes } from './journal-record.js';
import { createObject, loadObject, objectFolder, objectPath, type StoredObject } from './object-file.js';
import { zeroChecksum } from './planner.js';
import type { FoundBatch, JournalScan } from './recovery.js';
import { NO_MARK } from './tail-mark.js';

/** One possible content of a block. */
type Version =
  | { readonly kind: 'image'; readonly sum: number; readonly file: DiskFile; readonly offset: number }
  | { readonly kind: 'direct'; readonly sum: number; readonly durable: boolean }
  | { readonly kind: 'hole' }
  | { readonly kind: 'zeros' }
  | { readonly kind: 'spoiled'; readonly sum: number };

/** Versions kept per block; older ones are forgotten. */
const MAX_VERSIONS = 8;

interface ObjectPlan {
  reset: 'none' | 'create' | 'remove';
  instance: number;
  objectBytes: number;
  epoch: number;
  /** Of the earliest record that tells of it; undefined: none yet. */
  tailMark: number | undefined;
  /** Newest last. */
  blocks: Map<number, Version[]>;
}

export interface ReplayResult {
  /** Every object named in the journal. */
  readonly objects: readonly bigint[];
  /** What was in flight when the process died, and what the last batch changed. */
  readonly uncommitted: readonly bigint[];
  readonly touched: readonly { oid: bigint; epoch: number }[];
  readonly problems: number;
}

/**
 * Replays a scanned journal; all changed objects and their names are durable when it resolves. DiskError 'no-space':
 * there is no room for objects that only the journal has; it still has them.
 */
export async function replayJournal(
  disk: Disk,
  log: Logger,
  scan: JournalScan,
  afterPowerCut: boolean,
): Promise<ReplayResult> {
  const plans = new Map<bigint, ObjectPlan>();
  const touched = new Map<string, { oid: bigint; epoch: number }>();
  const flushed = Math.max(-1, ...scan.batches.slice(-1).map(({ header }) => header.flushedSequence));
  for (const batch of scan.batches) {
    planBatch(plans, batch, flushed);
    for (const { oid, epoch } of batch.records) touched.set(`${oid}:${epoch}`, { oid, epoch });
  }
  const folders = new Set<string>();
  let problems = 0;
  for (const [oid, plan] of plans) {
    folders.add(objectFolder(oid));
    const done = replayObject(disk, log, oid, plan, afterPowerCut);
    if (done === 'problem') problems++;
    else if (done) await persistObject(done);
  }
  for (const folder of folders) if (disk.exists(folder)) await disk.syncDir(folder);
  if (folders.size > 0) await disk.syncDir('obj');
  const last = scan.batches.at(-1);
  const uncommitted = last ? [...last.uncommitted, ...last.records.map(({ oid }) => oid)] : [];
  return {
    objects: [...plans.keys()],
    uncommitted,
    touched: [...touched.values()],
    problems,
  };
}

async function persistObject(object: StoredObject): Promise<void> {
  try {
    // The slot that was read may only be in the page cache: it is made durable before the other is overwritten.
    await object.sync();
    object.writeTail();
    await object.sync();
  } finally {
    object.close();
  }
}

function planBatch(plans: Map<bigint, ObjectPlan>, batch: FoundBatch, flushed: number): void {
  let offset = batch.header.position + batch.header.headerBytes;
  let image = 0;
  for (const record of batch.records) {
    const plan = planOf(plans, record);
    for (let index = 0; index < record.blockCount; index++) {
      const block = record.firstBlock + index;
      const sum = record.checksums[index] ?? HOLE;
      if (record.type === recordTypes.image) {
        const bad = batch.badImages.has(image++);
        // A lost image may still have reached the object: it is looked for there like a direct write.
        if (bad) addVersion(plan, block, { kind: 'direct', sum, durable: true });
        else addVersion(plan, block, { kind: 'image', sum, file: batch.file, offset });
        offset += BLOCK_SIZE;
      } else if (record.type === recordTypes.direct) {
        addVersion(plan, block, { kind: 'direct', sum, durable: batch.header.sequence <= flushed });
      } else if (record.type === recordTypes.spoiled) {
        addVersion(plan, block, { kind: 'spoiled', sum });
      } else if (record.type === recordTypes.hole || record.type === recordTypes.zeros) {
        addVersion(plan, block, { kind: record.type === recordTypes.hole ? 'hole' : 'zeros' });
      }
    }
  }
}

function planOf(plans: Map<bigint, ObjectPlan>, record: JournalRecord): ObjectPlan {
  const { oid, type, instance, objectBytes, epoch } = record;
  let plan = plans.get(oid);
  if (!plan) {
    plan = { reset: 'none', instance: 0, objectBytes, epoch: 0, tailMark: undefined, blocks: new Map() };
    plans.set(oid, plan);
  }
  if (type === recordTypes.create || type === recordTypes.remove) {
    plan.reset = type === recordTypes.create ? 'create' : 'remove';
    plan.instance = instance;
    plan.objectBytes = objectBytes;
    plan.epoch = 0;
    // The journal has the object's whole life.
    plan.tailMark = NO_MARK;
    plan.blocks.clear();
  } else if (instance > plan.instance && type !== recordTypes.touch) {
    // Another life of the object began without a record: a copy took its name. It was durable by then.
    plan.reset = 'none';
    plan.instance = instance;
    plan.objectBytes = objectBytes;
    plan.tailMark = undefined;
    plan.blocks.clear();
  }
  if (record.tailMark !== NO_MARK) plan.tailMark ??= record.tailMark;
  if (type !== recordTypes.remove && epoch > plan.epoch) plan.epoch = epoch;
  return plan;
}

function addVersion(plan: ObjectPlan, block: number, version: Version): void {
  const versions = plan.blocks.get(block);
  if (!versions || (version.kind === 'direct' && version.durable)) {
    plan.blocks.set(block, [version]);
    return;
  }
  versions.push(version);
  if (versions.length > MAX_VERSIONS) versions.shift();
}

function replayObject(
  disk: Disk,
  log: Logger,
  oid: bigint,
  plan: ObjectPlan,
  afterPowerCut: boolean,
): StoredObject | 'problem' | undefined {
  let object = loadObject(disk, oid, { instance: plan.instance, tailMark: plan.tailMark ?? NO_MARK });
  if (plan.reset === 'remove') {
    if (!object) return undefined;
    object.close();
    if (object.instance <= plan.instance) disk.unlink(objectPath(oid));
    return undefined;
  }
  if (plan.reset === 'create' && (!object || object.instance < plan.instance)) {
    object = recreate(disk, log, oid, plan, object, afterPowerCut);
    if (!object) return 'problem';
  }
  if (!object) {
    if (plan.blocks.size === 0) return undefined;
    log.error({ oid: oid.toString(16) }, 'an object that the journal changes is missing');
    return 'problem';
  }
  // A newer life: the object was replaced by a copy after these records.
  const theirs = object.instance !== 0 && object.instance !== plan.instance;
  if (!theirs || plan.instance === 0) {
    for (const [block, versions] of plan.blocks) {
      if (block < object.blocks && !theirs) replayBlock(log, object, block, versions, afterPowerCut);
    }
    punchHoles(object, afterPowerCut ? everyBlock(object) : plan.blocks.keys());
  }
  if (plan.epoch > object.epoch) object.epoch = plan.epoch;
  return object;
}

/**
 * After a power cut the store does not open without room for it: going on without the object would look to the others
 * as if it had never been made, or had been removed, although it may have been flushed. After a kill nobody was told of
 * an object that is not there.
 */
function recreate(
  disk: Disk,
  log: Logger,
  oid: bigint,
  plan: ObjectPlan,
  before: StoredObject | undefined,
  afterPowerCut: boolean,
): StoredObject | undefined {
  try {
    if (before) {
      before.close();
      disk.unlink(objectPath(oid));
    }
    return createObject(disk, oid, plan.objectBytes, plan.instance, 0);
  } catch (error) {
    if (afterPowerCut || !(error instanceof DiskError && error.code === 'no-space')) throw error;
    log.error({ oid: oid.toString(16) }, 'no room to create an object again');
    return undefined;
  }
}

function replayBlock(
  log: Logger,
  object: StoredObject,
  block: number,
  versions: readonly Version[],
  afterPowerCut: boolean,
): void {
  const found = new Uint8Array(BLOCK_SIZE);
  let read = false;
  const fits = (sum: number) => {
    if (!read) object.file.read(found, block * BLOCK_SIZE);
    read = true;
    return blockChecksum(found, object.seed, block) === sum;
  };
  // A hole counts only when nothing arrived: half of a direct write must not pass for zeros.
  const isHole = () => !fits(BAD) && isZero(found);
  const newest = versions.at(-1)!;
  const before = object.table[block]!;
  if (newest.kind !== 'direct') {
    if (restore(log, object, block, newest, afterPowerCut)) return;
    // Without a power cut, what is not in the object was refused for want of room, and acknowledged to nobody.
    const sums = [before, ...versions.map((version) => sumOf(object, block, version))];
    const present = sums.findLast((sum) => (sum === HOLE ? isHole() : fits(sum)));
    if (present !== undefined) object.table[block] = present;
    return;
  }
  // Undefined after the loop over all versions stands for what was there before the journal began.
  let restorable: Version | undefined;
  for (let index = versions.length - 1; index >= -1; index--) {
    const version = index < 0 ? undefined : versions[index]!;
    const sum = version ? sumOf(object, block, version) : object.table[block]!;
    if (sum === HOLE ? isHole() : fits(sum)) {
      // Nothing newer reached the object. So no newer direct write was durable; a newer image may have been.
      if (restorable) restore(log, object, block, restorable, afterPowerCut);
      else object.table[block] = sum;
      return;
    }
    if (version?.kind === 'direct' && version.durable) {
      object.table[block] = sum;
      return;
    }
    if (version && version.kind !== 'direct') restorable ??= version;
  }
  // Torn by the power cut, or rotted since, or newer than what is left of the journal. An older image is no answer: the
  // direct write after it may have been durable. It reads as bad; by the checksum of the newest write the replica that
  // has that is known. When none has it, the bytes are taken as they are (`adopt`).
  object.table[block] = sumOf(object, block, newest);
}

function sumOf(object: StoredObject, block: number, version: Version): number {
  if (version.kind === 'hole') return HOLE;
  return version.kind === 'zeros' ? zeroChecksum(object.seed, block) : version.sum;
}

/**
 * False: there was no room, and the block reads as bad, not as something old. After a power cut the store does not open
 * then: the journal may be the only place where this is.
 */
function restore(
  log: Logger,
  object: StoredObject,
  block: number,
  version: Version,
  afterPowerCut: boolean,
): boolean {
  const offset = block * BLOCK_SIZE;
  try {
    if (version.kind === 'image') {
      const image = new Uint8Array(BLOCK_SIZE);
      version.file.read(image, version.offset);
      object.table[block] = version.sum;
      object.file.write([image], offset);
    } else if (version.kind === 'zeros') {
      object.table[block] = zeroChecksum(object.seed, block);
      object.file.write([new Uint8Array(BLOCK_SIZE)], offset);
    } else if (version.kind === 'spoiled') {
      object.table[block] = version.sum;
    } else {
      object.table[block] = HOLE;
    }
  } catch (error) {
    if (afterPowerCut || !(error instanceof DiskError && error.code === 'no-space')) throw error;
    log.error({ oid: object.oid.toString(16), block }, 'no room to restore a block');
    return false;
  }
  return true;
}

function everyBlock({ blocks }: StoredObject): Iterable<number> {
  return Array.from({ length: blocks }, (_, block) => block);
}

/**
 * Room of blocks that ended as holes is given back. After a power cut that may be what is left of a write whose record
 * is lost: bytes that the next power cut could not tell from those that it tore.
 */
function punchHoles(object: StoredObject, candidates: Iterable<number>): void {
  let first = 0;
  let count = 0;
  const punch = () => {
    if (count > 0) object.file.punch(first * BLOCK_SIZE, count * BLOCK_SIZE);
    count = 0;
  };
  for (const block of candidates) {
    if (block >= object.blocks || object.table[block] !== HOLE) continue;
    if (block !== first + count) punch();
    if (count === 0) first = block;
    count++;
  }
  punch();
}
