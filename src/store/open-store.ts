/**
 * Opening a store: identity, recovery, a fresh journal. In this order, so that a crash at any point leaves a store
 * that opens the same way again: replay, sync what was replayed, keep the suspects, superblock (with the new boot
 * id), new journal generations.
 */
import type { Clock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { dropBallast, keepBallast } from './ballast.js';
import { BASE_FOLDER } from './bases.js';
import { TMP_FOLDER } from './copy-on-write.js';
import { type Disk, DiskError, type DiskFile } from './disk.js';
import { formatSegments, Journal, type Segment, segmentPath } from './journal.js';
import { defaultLimits, type StoreLimits, segmentSize } from './limits.js';
import { ObjectCache } from './object-cache.js';
import { objectIds } from './object-path.js';
import { scanJournal } from './recovery.js';
import { replayJournal } from './replay.js';
import { Store } from './store.js';
import {
  checkIdentity,
  readSuperblock,
  SUPERBLOCK_PATH,
  type Superblock,
  writeSuperblock,
} from './superblock.js';
import { readSuspects, Suspects } from './suspects.js';
import { TOUCHED_FOLDER, TouchedLog } from './touched-log.js';

export interface StoreOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Logger;
  readonly identity: { readonly clusterId: string; readonly nodeId: string };
  /** Changes with every boot of the machine: what was not synced before is then in doubt. */
  readonly bootId: string;
  readonly limits?: Partial<StoreLimits>;
  /** What requests get once the store has stopped: 'again' where others can go on without it (disks/). */
  readonly failureCode?: 'io' | 'again';
}

/**
 * Opens the store on a disk, making one on an empty disk.
 * AppError 'cluster-error' (another cluster's or node's) | 'version' (of a newer program) | 'system' (damaged, no
 * directory, not a store) | 'read-only' | 'no-space' (a new store does not fit) | 'io'.
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  try {
    return await openOnFullDisk(options);
  } catch (error) {
    throw explain(error);
  }
}

/** A full disk must not keep the store from opening (I-8): the ballast is thrown off, once. */
async function openOnFullDisk(options: StoreOptions): Promise<Store> {
  try {
    return await open(options);
  } catch (error) {
    const full = error instanceof DiskError && error.code === 'no-space';
    if (!full) throw error;
    const made = [dropBallast(options.disk, 'running'), dropBallast(options.disk, 'opening')].includes(true);
    if (!made) throw error;
    options.log.child('store').warn({}, 'the disk is full: opening with the room kept for that');
    return await open(options);
  }
}

function explain(error: unknown): AppError {
  if (!(error instanceof DiskError)) return AppError.from(error, 'system');
  const { code, message } = error;
  if (code === 'read-only' || code === 'denied') {
    return new AppError('read-only', `the store cannot be written: ${message}`, { cause: error });
  }
  if (code === 'no-space') {
    return new AppError('no-space', `the disk is too full to open the store: ${message}`, { cause: error });
  }
  if (code === 'missing') {
    return new AppError('system', `the store is incomplete: ${message}`, { cause: error });
  }
  return new AppError('io', `the store cannot be opened: ${message}`, { cause: error });
}

async function open(options: StoreOptions): Promise<Store> {
  const { disk, clock, bootId, identity } = options;
  const log = options.log.child('store');
  const limits = { ...defaultLimits, ...options.limits };
  const found = readSuperblock(disk);
  if (found) checkIdentity(found, identity);
  else await prepareEmpty(disk);
  await clearTmp(disk);
  await prepareBases(disk);

  const powerCut = found !== undefined && found.bootId !== bootId && !found.clean;
  const kept = readSuspects(disk);
  if (!kept) log.error({}, 'the list of suspect objects is damaged: every object is suspect');
  const recovered = await recover(disk, log, powerCut);
  const suspects = new Suspects(disk, kept ?? { oids: new Set(), torn: new Set() });
  if (!kept || recovered.everything) await suspectEverything(disk, suspects);
  for (const oid of recovered.suspects) suspects.add(oid, recovered.torn);
  if (suspects.oids.size > 0 || !kept) await suspects.save();

  const openCount = (found?.openCount ?? 0) + 1;
  // It stays lossy over restarts, until the cluster has made up for what is gone.
  const lossy = recovered.lossy || found?.lossy === true;
  const superblock: Superblock = {
    ...identity,
    bootId,
    clean: false,
    lossy,
    openCount,
    usedBytes: found?.usedBytes ?? 0,
  };
  await writeSuperblock(disk, superblock);
  const segmentBytes = segmentSize(limits);
  const segments: [Segment, Segment] = await formatSegments(disk, segmentBytes, openCount * 0x10_0000);
  await keepBallast(disk, limits);
  const store = new Store({
    disk,
    clock,
    log,
    limits,
    cache: new ObjectCache(disk, limits),
    touched: recovered.touched,
    suspects,
    superblock,
    lossy,
    canLink: canLink(disk),
    failureCode: options.failureCode ?? 'io',
    makeJournal: (onFailure) => new Journal(segments, segmentBytes, openCount * 0x1_0000_0000, onFailure),
  });
  if (found && !found.clean) void store.tidy();
  return store;
}

async function prepareEmpty(disk: Disk): Promise<void> {
  if (disk.list('obj').length > 0) {
    throw new AppError('system', 'the store has objects but no superblock');
  }
  for (const folder of ['obj', TMP_FOLDER, TOUCHED_FOLDER]) disk.mkdir(folder);
  await disk.syncDir('.');
}

/** Stores of format 1 have no such folder. */
async function prepareBases(disk: Disk): Promise<void> {
  if (disk.exists(BASE_FOLDER)) return;
  disk.mkdir(BASE_FOLDER);
  await disk.syncDir('.');
}

/** Whether a file can have two names here. */
function canLink(disk: Disk): boolean {
  const name = `${TMP_FOLDER}/link`;
  try {
    disk.link(SUPERBLOCK_PATH, name);
    disk.unlink(name);
    return true;
  } catch (error) {
    if (error instanceof DiskError && (error.code === 'denied' || error.code === 'io')) return false;
    throw error;
  }
}

/** Copies that were never finished. */
async function clearTmp(disk: Disk): Promise<void> {
  for (const name of disk.list(TMP_FOLDER)) disk.unlink(`${TMP_FOLDER}/${name}`);
}

interface Recovered {
  readonly suspects: readonly bigint[];
  /** Blocks of the suspects may be half written, or older than their checksums say. */
  readonly torn: boolean;
  /** So much was lost that no object can be trusted. */
  readonly everything: boolean;
  /** What was not synced may be gone. */
  readonly lossy: boolean;
  readonly touched: TouchedLog;
}

async function recover(disk: Disk, log: Logger, powerCut: boolean): Promise<Recovered> {
  const touched = new TouchedLog(disk);
  const files: DiskFile[] = [];
  for (let index = 0; index < 2; index++) {
    if (disk.exists(segmentPath(index))) files.push(disk.open(segmentPath(index)));
  }
  try {
    const scan = scanJournal(files, powerCut ? 'power-cut' : 'kill');
    // What is replayed must survive a power cut during recovery, or objects would change and nobody suspect them.
    for (const file of files) await file.sync();
    const replayed = await replayJournal(disk, log, scan, powerCut);
    for (const { oid, epoch } of replayed.touched) touched.add(oid, epoch);
    await touched.sync(new Set(replayed.touched.map(({ epoch }) => epoch)));
    const { batches, damaged } = scan;
    if (batches.length > 0) {
      log.info({ batches: batches.length, objects: replayed.objects.length, powerCut }, 'journal replayed');
    }
    if (damaged > 0) log.error({ damaged }, 'durable journal batches are lost: every object is suspect');
    const everything = damaged > 0 || replayed.problems > 0;
    const torn = powerCut || everything;
    return {
      suspects: torn ? replayed.objects : replayed.uncommitted,
      torn,
      everything,
      lossy: torn || scan.cut,
      touched,
    };
  } finally {
    for (const file of files) file.close();
  }
}

async function suspectEverything(disk: Disk, suspects: Suspects): Promise<void> {
  for (const oid of objectIds(disk)) suspects.add(oid, true);
}
