import type { Clock } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { Disk } from '../../store/disk.js';
import type { TxnResult } from '../coordinator.js';
import type { Change, KeyValueState } from '../key-value-state.js';
import { differences } from '../state-diff.js';
import { adoptGeneration, openNewest, removeOld } from './generations.js';
import { type LogFile, translate } from './log-file.js';
import type { LogRecord, Proposal } from './record.js';

/** A log file is ended when its records weigh more than this (or than its snapshot, if that is larger) ... */
export const ROTATE_BYTES = 4 << 20;
/** ... or are more than this many. */
export const ROTATE_RECORDS = 20_000;
/** Proposals of one handle that wait for their outcome; more are refused with AppError 'again'. */
export const MAX_PENDING = 10_000;

/** Less room than this is a full disk. */
const FULL_BYTES = 1 << 20;

export interface ReplicaOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Logger;
  readonly folder: string;
  /** 16 hexadecimal digits, unique to the handle. */
  readonly proposer: string;
  readonly rotateBytes?: number;
  readonly rotateRecords?: number;
}

export interface ReplicaEvents {
  onChange(change: Change): void;
  onLeaseGone(leaseId: string): void;
  /** Nothing works any more; all calls reject with this. */
  onFailure(error: AppError): void;
}

interface Pending {
  readonly proposal: Proposal;
  /** The log file it was last appended to. */
  generation: number;
  readonly resolve: (result: TxnResult) => void;
  readonly reject: (error: Error) => void;
}

/**
 * This process's copy of the state: it replays the shared log, and proposals are decided where they stand in it.
 *
 * One round at a time reads the log to its end, syncs it, and applies it. A call waits for a round that began
 * reading after the call was made: what it then sees is the state at some moment during the call.
 */
export class Replica {
  private readonly pending = new Map<number, Pending>();
  private nextSequence = 1;
  /** The round that has not begun reading yet: whoever calls now can share it. */
  private gathering: Promise<void> | undefined;
  private lastRound: Promise<void> = Promise.resolve();
  /** Rounds that wait or run. */
  private rounds = 0;
  /** The current file's rotate record was read, and the next file is not open yet. */
  private ended = false;
  private rotateProposed = false;
  private failure: AppError | undefined;

  private constructor(
    private readonly options: ReplicaOptions,
    private log: LogFile,
    private current: KeyValueState,
    private readonly events: ReplicaEvents,
  ) {}

  static async open(options: ReplicaOptions, events: ReplicaEvents): Promise<Replica> {
    const { log, state } = await openNewest(options.disk, options.folder, options.proposer);
    const replica = new Replica(options, log, state, events);
    await replica.catchUp();
    return replica;
  }

  get state(): KeyValueState {
    return this.current;
  }

  get generation(): number {
    return this.log.generation;
  }

  /** Resolves when decided; rejects when refused, or, if the log can no longer be read, with the outcome unknown. */
  propose(proposal: Proposal): Promise<TxnResult> {
    if (this.failure) return Promise.reject(this.failure);
    if (this.pending.size >= MAX_PENDING) {
      return Promise.reject(new AppError('again', `${MAX_PENDING} transactions are waiting already`));
    }
    return new Promise((resolve, reject) => {
      const sequence = this.nextSequence++;
      if (!this.append(sequence, { proposal, generation: 0, resolve, reject })) return;
      // A round that fails rejects every pending proposal itself.
      this.catchUp().catch(() => {});
    });
  }

  /** Resolves when everything that was in the log at the time of the call is applied. */
  catchUp(): Promise<void> {
    if (this.failure) return Promise.reject(this.failure);
    if (!this.gathering) {
      this.rounds++;
      const round = this.lastRound.then(() => this.round()).finally(() => this.rounds--);
      this.gathering = round;
      this.lastRound = round.catch(() => {});
    }
    return this.gathering;
  }

  /** A cheap look whether another process wrote something. */
  isBehind(): boolean {
    return !this.failure && (this.ended || this.log.hasMore());
  }

  /** What is not read yet is being read, however long its sync takes. */
  get isReading(): boolean {
    return this.rounds > 0;
  }

  /** Rejects what is pending and lets the last round end. */
  async close(): Promise<void> {
    this.stop(new AppError('shutdown', 'the coordinator is closed'));
    await this.lastRound;
    this.log.close();
  }

  fail(error: unknown): void {
    if (this.failure) return;
    this.stop(AppError.from(translate(error), 'cluster-error'));
    this.events.onFailure(this.failure!);
  }

  private stop(error: AppError): void {
    this.failure ??= error;
    for (const { reject } of this.pending.values()) reject(error);
    this.pending.clear();
  }

  /** False: refused, and the proposer was told. */
  private append(sequence: number, entry: Pending): boolean {
    const { proposal } = entry;
    try {
      entry.generation = this.log.generation;
      this.log.append({ proposer: this.options.proposer, sequence, proposal });
      this.pending.set(sequence, entry);
      return true;
    } catch (error) {
      // What a failed append left is not a whole record: this proposal will never be decided anywhere.
      this.pending.delete(sequence);
      entry.reject(this.appendError(error));
      return false;
    }
  }

  /** The last bytes of a full disk take part of a record, which looks like an I/O error. */
  private appendError(error: unknown): AppError {
    const known = AppError.from(error, 'io');
    if (known.code !== 'io' || this.options.disk.space().freeBytes > FULL_BYTES) return known;
    return new AppError('no-space', known.message, { cause: error });
  }

  private async round(): Promise<void> {
    // Calls of the same turn of the event loop join this round: one read and one sync for all of them.
    await new Promise<void>((resolve) => this.options.clock.defer(resolve));
    this.gathering = undefined;
    if (this.failure) throw this.failure;
    try {
      for (;;) {
        if (!this.ended) this.ended = this.applyAll(await this.log.readOn());
        if (!this.ended || !(await this.advance())) break;
      }
      this.proposeRotation();
    } catch (error) {
      this.fail(error);
      throw error;
    }
  }

  /** True when a rotate record ends the file; what follows it is void. */
  private applyAll(records: readonly LogRecord[]): boolean {
    for (const record of records) {
      if (record.proposal.kind === 'rotate') return true;
      this.decide(record, record.proposal);
    }
    return false;
  }

  private decide(record: LogRecord, proposal: Exclude<Proposal, { kind: 'rotate' }>): void {
    const own = record.proposer === this.options.proposer ? this.pending.get(record.sequence) : undefined;
    if (own) this.pending.delete(record.sequence);
    try {
      const result = this.apply(proposal);
      own?.resolve(result);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      own?.reject(error);
    }
  }

  private apply(proposal: Exclude<Proposal, { kind: 'rotate' }>): TxnResult {
    if (proposal.kind === 'txn') {
      const { result, change } = this.current.txn(proposal.compares, proposal.ops);
      if (change) this.events.onChange(change);
      return result;
    }
    if (proposal.kind === 'grant') {
      const ok = this.current.grant(proposal.lease, proposal.ttlMs, proposal.holder);
      return { ok, revision: this.current.revision };
    }
    const known = this.current.lease(proposal.lease) !== undefined;
    const change = this.current.expire(proposal.lease);
    if (change) this.events.onChange(change);
    if (known) this.events.onLeaseGone(proposal.lease);
    return { ok: known, revision: this.current.revision };
  }

  /** Goes on to the next file. False when there is no room to create it: what is pending is refused, reads go on. */
  private async advance(): Promise<boolean> {
    const { disk, folder, proposer, clock, log: logger } = this.options;
    try {
      const giveWay = () => new Promise<void>((resolve) => clock.defer(resolve));
      const following = this.log.generation + 1;
      const next = await adoptGeneration(disk, folder, following, this.current, proposer, giveWay);
      this.log.close();
      this.log = next.log;
      if (next.state) this.jumpTo(next.state);
    } catch (error) {
      if (!AppError.isCode(error, 'no-space')) throw error;
      for (const { reject } of this.pending.values()) reject(error);
      this.pending.clear();
      return false;
    }
    logger.info({ generation: this.log.generation }, 'went on to the next log');
    this.ended = false;
    this.rotateProposed = false;
    removeOld(disk, folder, this.log.generation);
    this.proposeAgain();
    return true;
  }

  /** Proposals that came after the rotate record were decided nowhere, and never will be where they stand. */
  private proposeAgain(): void {
    for (const [sequence, entry] of [...this.pending]) {
      if (entry.generation < this.log.generation) this.append(sequence, entry);
    }
  }

  /** This process slept through whole files: the changes in between are told as one step per revision still known. */
  private jumpTo(state: KeyValueState): void {
    const before = this.current;
    this.current = state;
    for (const change of differences(before, state)) this.events.onChange(change);
    for (const { id } of before.allLeases()) if (!state.lease(id)) this.events.onLeaseGone(id);
  }

  /** Any number of processes may end a file; the first rotate record counts. */
  private proposeRotation(): void {
    const { rotateBytes = ROTATE_BYTES, rotateRecords = ROTATE_RECORDS, disk, proposer } = this.options;
    const { recordBytes, recordCount, header } = this.log;
    if (this.ended || this.rotateProposed) return;
    if (recordBytes < Math.max(rotateBytes, header.snapshotBytes) && recordCount < rotateRecords) return;
    // A file that is ended needs a next one, so it is not ended unless there is ample room for its snapshot.
    const neededBytes = 2 * (header.snapshotBytes + recordBytes) + ROTATE_BYTES;
    if (disk.space().freeBytes < neededBytes) return;
    this.rotateProposed = true;
    try {
      this.log.append({ proposer, sequence: 0, proposal: { kind: 'rotate' } });
    } catch (error) {
      this.rotateProposed = false;
      this.options.log.warn({ error: String(error) }, 'could not end the log file');
      return;
    }
    this.catchUp().catch(() => {});
  }
}
