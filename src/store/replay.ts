/**
 * Carries out what the journal holds, object by object. First all batches are laid over each other in memory, then
 * each object is brought to the result once: an older image must never overwrite newer bytes that went straight to
 * the object. Doing it twice gives the same (a crash in here is nothing special).
 */
import { BLOCK_SIZE } from '../base/bytes.js';
import type { Logger } from '../base/log.js';
import { BASE_FOLDER, baseFolder, type Life, linkBases, unlinkBases } from './bases.js';
import { HOLE } from './checksum.js';
import { type Disk, DiskError } from './disk.js';
import { decodeHeritage, type Heritage } from './inherit.js';
import { type JournalRecord, recordTypes } from './journal-record.js';
import { beginAgain, createObject, loadObject, type StoredObject } from './object-file.js';
import { objectFolder, objectPath } from './object-path.js';
import { blockCount } from './object-slot.js';
import type { FoundBatch, JournalScan } from './recovery.js';
import { replayBlock, type Version } from './replay-block.js';
import { NO_MARK } from './tail-mark.js';

/** Versions kept per block; older ones are forgotten. */
const MAX_VERSIONS = 8;

interface ObjectPlan {
  reset: 'none' | 'create' | 'inherit' | 'remove';
  /** For inherit. */
  heritage: Heritage | undefined;
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
  for (const [oid, plan] of inOrder(plans)) {
    folders.add(objectFolder(oid));
    if (plan.heritage) for (const folder of [baseFolder(oid), BASE_FOLDER]) folders.add(folder);
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

/** Parents before their heirs: these have their blocks in the same files. */
function inOrder(plans: ReadonlyMap<bigint, ObjectPlan>): Map<bigint, ObjectPlan> {
  const ordered = new Map<bigint, ObjectPlan>();
  for (const [oid] of plans) {
    const line: [bigint, ObjectPlan][] = [];
    // An id that is used again may make this a circle.
    for (let next: bigint | undefined = oid; next !== undefined && line.length <= plans.size; ) {
      const plan = plans.get(next);
      if (!plan || ordered.has(next)) break;
      line.unshift([next, plan]);
      next = plan.heritage?.parent.oid;
    }
    for (const [each, plan] of line) ordered.set(each, plan);
  }
  return ordered;
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
    plan = newPlan(objectBytes);
    plans.set(oid, plan);
  }
  if (type === recordTypes.create || type === recordTypes.inherit || type === recordTypes.remove) {
    plan.reset = type === recordTypes.remove ? 'remove' : type === recordTypes.create ? 'create' : 'inherit';
    plan.heritage =
      plan.reset === 'inherit' ? decodeHeritage(record.checksums, blockCount(objectBytes)) : undefined;
    plan.instance = instance;
    plan.objectBytes = objectBytes;
    plan.epoch = 0;
    // The journal has the object's whole life.
    plan.tailMark = NO_MARK;
    plan.blocks.clear();
  } else if (instance > plan.instance && type !== recordTypes.touch) {
    // Another life of the object began without a record: a copy took its name. It was durable by then.
    plan.reset = 'none';
    plan.heritage = undefined;
    plan.instance = instance;
    plan.objectBytes = objectBytes;
    plan.tailMark = undefined;
    plan.blocks.clear();
  }
  if (record.tailMark !== NO_MARK) plan.tailMark ??= record.tailMark;
  if (type !== recordTypes.remove && epoch > plan.epoch) plan.epoch = epoch;
  return plan;
}

function newPlan(objectBytes: number): ObjectPlan {
  const blocks = new Map();
  return {
    reset: 'none',
    heritage: undefined,
    instance: 0,
    objectBytes,
    epoch: 0,
    tailMark: undefined,
    blocks,
  };
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
  const load = () => loadObject(disk, oid, { instance: plan.instance, tailMark: plan.tailMark ?? NO_MARK });
  let object = load();
  // A newer life has bases of its own, or none.
  if (plan.reset === 'inherit' && !(object && object.instance > plan.instance)) {
    object?.close();
    if (!relink(disk, log, oid, plan)) return 'problem';
    object = load();
    // Nobody has flushed it, or the table would be whole. Unlike that of other new objects, it is not all zeros.
    const isTorn = object?.instance === plan.instance && object.durableSlot === undefined;
    if (isTorn) object = beginAgain(disk, object!, plan.heritage!);
  }
  if (plan.reset === 'remove') {
    if (!object) return undefined;
    object.close();
    if (object.instance <= plan.instance) removeFile(disk, object);
    return undefined;
  }
  const begins = plan.reset === 'create' || plan.reset === 'inherit';
  if (begins && (!object || object.instance < plan.instance)) {
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
 * Gives a thin object the names of its bases again, of the files that its parent has now: of those of before a power
 * cut may have left the heir's name alone, without the bytes. A parent that is gone, or began another life, has gone
 * after all that was durable (inherit.ts).
 */
function relink(disk: Disk, log: Logger, oid: bigint, plan: ObjectPlan): boolean {
  try {
    if (!plan.heritage) throw new DiskError('io', 'the record does not fit the object');
    const { parent, origins, baseCount } = plan.heritage;
    const heir = { oid, instance: plan.instance };
    if (isAlive(disk, parent)) unlinkBases(disk, heir, baseCount);
    linkBases(disk, heir, parent, origins);
    return true;
  } catch (error) {
    if (!(error instanceof DiskError) || error.code === 'no-space') throw error;
    log.error({ oid: oid.toString(16), err: error.message }, 'what a thin object inherits is missing');
    return false;
  }
}

function isAlive(disk: Disk, life: Life): boolean {
  const object = loadObject(disk, life.oid);
  object?.close();
  return object?.instance === life.instance;
}

function removeFile(disk: Disk, object: StoredObject): void {
  disk.unlink(objectPath(object.oid));
  if (object.thin) unlinkBases(disk, object, object.thin.baseCount);
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
      removeFile(disk, before);
    }
    return createObject(disk, oid, plan.objectBytes, plan.instance, 0, objectPath(oid), plan.heritage);
  } catch (error) {
    if (afterPowerCut || !(error instanceof DiskError && error.code === 'no-space')) throw error;
    log.error({ oid: oid.toString(16) }, 'no room to create an object again');
    return undefined;
  }
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
