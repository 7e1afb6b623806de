import { assert } from '../../base/assert.js';
import type { Clock, Timer } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { Random } from '../../base/random.js';
import type { Disk } from '../../store/disk.js';
import type {
  Compare,
  Coordinator,
  KeyValue,
  Lease,
  Op,
  TxnResult,
  Watch,
  WatchEvent,
} from '../coordinator.js';
import { WatchHub } from '../watch-hub.js';
import { HeldLease } from './held-lease.js';
import { leaseFolder, MAX_HOLDER_BYTES } from './lease-file.js';
import { LeaseJudge } from './lease-judge.js';
import { isDiskError, listGenerations, removeIfThere, translate, translated } from './log-file.js';
import type { Notifier } from './notifier.js';
import type { Processes } from './processes.js';
import { Replica } from './replica.js';

/** Without a word from the notifier, another process's record is noticed within this. */
export const POLL_MS = 50;
/** The same while the notifier is trusted: it tells within a millisecond, and each look in vain wakes the process. */
export const TRUSTING_POLL_MS = 500;
/** A notifier that kept something back is not trusted for so long. */
const DISTRUST_MS = 60_000;
/** A dead holder is noticed within this; one to which somebody had a link, at once (`suspect`). */
export const LIVENESS_MS = 250;
/** Every so many looks are thorough: they tell a killed process that is still listed from a living one. */
const THOROUGH_LOOKS = 4;
/** A suspected holder is looked at this often, this many times: a killed process takes a moment to be gone. */
const SUSPECT_MS = 10;
const SUSPECT_LOOKS = 20;
/** Whether somebody removed the folder under us. */
const FOLDER_CHECK_MS = 1000;

export interface LocalCoordinatorOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly processes: Processes;
  readonly notifier: Notifier;
  /** Where the files are, relative to the disk's root; created when `create` is set. */
  readonly folder: string;
  readonly create?: boolean;
  readonly pollMs?: number;
  readonly livenessMs?: number;
  readonly rotateBytes?: number;
  readonly rotateRecords?: number;
  readonly historyChanges?: number;
}

/**
 * Opens the coordinator that the processes of one host share through a folder. Throws AppError: 'missing' (no such
 * folder, and `create` is not set), 'read-only', 'version' (written by a later version), 'checksum' (damaged),
 * 'no-space', 'io'.
 */
export async function openLocalCoordinator(options: LocalCoordinatorOptions): Promise<LocalCoordinator> {
  const { disk, folder } = options;
  if (!translated(() => disk.exists(folder)) && !options.create) {
    throw new AppError('missing', `there is no coordinator folder ${folder}`);
  }
  translated(() => disk.mkdir(leaseFolder(folder)));
  try {
    // The folder's own name must survive a power cut as well as what will be in it.
    await disk.syncDir(folder.includes('/') ? folder.slice(0, folder.lastIndexOf('/')) : '.');
  } catch (error) {
    throw translate(error);
  }
  probeWritable(options);
  for (const name of disk.list(folder)) {
    // Left by a process that died, or in use this moment: then its owner finds that out and tries again.
    if (name.startsWith('tmp.')) removeIfThere(disk, `${folder}/${name}`);
  }
  return LocalCoordinator.open(options);
}

/** Better refused now than at the first rotation. A full disk is no reason: what is there can still be read (I-8). */
function probeWritable({ disk, folder, random }: LocalCoordinatorOptions): void {
  const path = `${folder}/tmp.probe-${random.bytes(8).toString('hex')}`;
  try {
    disk.open(path, { create: true }).close();
  } catch (error) {
    if (!isDiskError(error, 'no-space')) throw translate(error);
  }
  removeIfThere(disk, path);
}

/** The `local` driver: see README.md here for the whole picture. */
export class LocalCoordinator implements Coordinator {
  private replica!: Replica;
  private hub: WatchHub | undefined;
  private readonly judge: LeaseJudge;
  private readonly held = new Map<string, HeldLease>();
  private readonly timers = new Map<string, Timer>();
  private stopNotifier: () => void = () => {};
  private failure: AppError | undefined;
  private closed = false;
  private looks = 0;
  /** How often the notifier has told of something. */
  private notices = 0;
  /** What that was when something was found unasked: if it is the same at the next look, the notifier kept it back. */
  private noticesAtFind: number | undefined;
  private missedMs = Number.NEGATIVE_INFINITY;

  private constructor(private readonly options: LocalCoordinatorOptions) {
    const { disk, clock, folder, processes } = options;
    this.judge = new LeaseJudge({
      disk,
      clock,
      folder,
      processes,
      leases: () => this.replica.state.allLeases(),
      isOwn: (id) => this.held.has(id),
      expire: (id, reason) => this.expire(id, reason),
    });
  }

  static async open(options: LocalCoordinatorOptions): Promise<LocalCoordinator> {
    const coordinator = new LocalCoordinator(options);
    await coordinator.start();
    return coordinator;
  }

  async get(key: string): Promise<KeyValue | undefined> {
    await this.replica.catchUp();
    return this.replica.state.get(key);
  }

  async list(prefix: string): Promise<{ entries: KeyValue[]; revision: number }> {
    await this.replica.catchUp();
    const { state } = this.replica;
    return { entries: state.list(prefix), revision: state.revision };
  }

  txn(compares: Compare[], ops: Op[]): Promise<TxnResult> {
    return this.replica.propose({ kind: 'txn', compares, ops });
  }

  watch(prefix: string, afterRevision: number, onEvents: (events: WatchEvent[]) => void): Watch {
    if (this.failure) throw this.failure;
    return this.hub!.watch(prefix, afterRevision, onEvents);
  }

  async grantLease(ttlMs: number): Promise<Lease> {
    assert(ttlMs > 0 && Number.isFinite(ttlMs), 'a lease needs a time to live');
    if (this.failure) throw this.failure;
    const { disk, clock, log, folder, random, processes } = this.options;
    const id = random.bytes(8).toString('hex');
    const holder = processes.selfIdentity();
    assert(Buffer.byteLength(holder) <= MAX_HOLDER_BYTES, 'the identity of a process is short');
    const expire = (reason: string): Promise<void> => this.expire(id, reason);
    const onLost = (): void => void this.held.delete(id);
    const lease = new HeldLease({ disk, clock, log, folder, id, ttlMs, holder, expire, onLost });
    this.held.set(id, lease);
    try {
      const { ok } = await this.replica.propose({ kind: 'grant', lease: id, ttlMs, holder });
      if (!ok) throw new AppError('exists', `lease ${id} exists already`);
    } catch (error) {
      this.held.delete(id);
      lease.abandon();
      throw error;
    }
    lease.start();
    return lease;
  }

  suspect(leaseId: string): void {
    this.lookAgain(leaseId, SUSPECT_LOOKS);
  }

  /** Gives back the leases that are still held, as nobody will renew them. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    // What cannot be revoked now ends with the process or at its time.
    await Promise.all([...this.held.values()].map((lease) => lease.revoke().catch(() => {})));
    this.stop(new AppError('shutdown', 'the coordinator is closed'));
    await this.replica.close();
  }

  /** One line for `dog` and logs. */
  describe(): string {
    const { state, generation } = this.replica;
    const trouble = this.failure ? `, failed: ${this.failure.message}` : '';
    const leases = `${this.held.size} of ${state.allLeases().length} leases held here`;
    return `local, log ${generation}, revision ${state.revision}, ${leases}${trouble}`;
  }

  private async start(): Promise<void> {
    const { disk, clock, log, folder, random, notifier, rotateBytes, rotateRecords } = this.options;
    const proposer = random.bytes(8).toString('hex');
    const limits = {
      ...(rotateBytes !== undefined && { rotateBytes }),
      ...(rotateRecords !== undefined && { rotateRecords }),
    };
    const replica = await Replica.open(
      { disk, clock, log, folder, proposer, ...limits },
      {
        onChange: (change) => {
          // The first change replayed: history begins where the log file does.
          this.hub ??= new WatchHub(change.revision - 1, this.options.historyChanges);
          this.hub.publish(change);
        },
        onLeaseGone: (id) => this.onLeaseGone(id),
        onFailure: (error) => this.onFailure(error),
      },
    );
    this.replica = replica;
    this.hub ??= new WatchHub(replica.state.revision, this.options.historyChanges);
    this.judge.removeOrphans();
    const notification = notifier.start(() => {
      this.notices++;
      this.poll();
    });
    this.stopNotifier = () => notification.close();
    this.every(
      'poll',
      () => this.pollMs,
      () => this.pollUnasked(),
    );
    this.every(
      'liveness',
      () => this.options.livenessMs ?? LIVENESS_MS,
      () => this.lookAtHolders(),
    );
    this.every(
      'folder',
      () => FOLDER_CHECK_MS,
      () => this.checkFolder(),
    );
    this.judge.look(true);
  }

  /** True: there was something that had not been read. */
  private poll(): boolean {
    try {
      if (this.failure || !this.replica.isBehind()) return false;
      // A failed round reports itself.
      this.replica.catchUp().catch(() => {});
      return true;
    } catch (error) {
      this.replica.fail(translate(error));
      return false;
    }
  }

  private pollUnasked(): void {
    if (this.noticesAtFind === this.notices) this.missedMs = this.options.clock.nowMs();
    // What is being read already has been told of, or is this process's own.
    const found = !this.replica.isReading && this.poll();
    this.noticesAtFind = found ? this.notices : undefined;
  }

  private get pollMs(): number {
    const { pollMs, clock } = this.options;
    if (pollMs !== undefined) return pollMs;
    // A busy process gets to its timers before it is told.
    if (this.noticesAtFind !== undefined) return POLL_MS;
    return this.notices > 0 && clock.nowMs() > this.missedMs + DISTRUST_MS ? TRUSTING_POLL_MS : POLL_MS;
  }

  private lookAtHolders(): void {
    this.judge.look(this.looks++ % THOROUGH_LOOKS === 0);
  }

  private async expire(lease: string, reason: string): Promise<void> {
    await this.replica.propose({ kind: 'expire', lease, reason });
  }

  private lookAgain(leaseId: string, looks: number): void {
    if (this.failure || looks === 0 || this.judge.suspect(leaseId)) return;
    this.set(`suspect ${leaseId}`, SUSPECT_MS, () => this.lookAgain(leaseId, looks - 1));
  }

  private onLeaseGone(id: string): void {
    this.held.get(id)?.lose();
    this.judge.gone(id);
  }

  /** Nothing can be known or decided any more: whoever holds a lease here must stop. */
  private onFailure(error: AppError): void {
    this.options.log.error({ error: error.message }, 'the coordinator failed');
    this.stop(error);
  }

  private stop(error: AppError): void {
    this.failure ??= error;
    this.stopNotifier();
    for (const timer of this.timers.values()) timer.cancel();
    this.timers.clear();
    for (const lease of [...this.held.values()]) lease.lose();
    this.hub?.close();
  }

  /** Without the folder this process would go on alone, beside those that create it anew. */
  private checkFolder(): void {
    const newest = listGenerations(this.options.disk, this.options.folder).at(-1) ?? 0;
    if (newest < this.replica.generation) {
      this.replica.fail(new AppError('io', 'the folder of the coordinator was removed or replaced'));
    }
  }

  private every(name: string, periodMs: () => number, run: () => void): void {
    this.set(name, periodMs(), () => {
      try {
        run();
      } catch (error) {
        this.replica.fail(translate(error));
      }
      if (!this.failure) this.every(name, periodMs, run);
    });
  }

  private set(name: string, delayMs: number, run: () => void): void {
    this.timers.get(name)?.cancel();
    const timer = this.options.clock.after(delayMs, () => {
      this.timers.delete(name);
      run();
    });
    this.timers.set(name, timer);
  }
}
