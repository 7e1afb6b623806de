/**
 * One ObjectStore over several disks (D-8), each with a whole store of its own. Which disk has an object, locator.ts
 * says; what happens to the others when one is lost is here.
 *
 * A LOSS. The disk is dropped at once: its operations reject with 'again', its objects are not found. Nobody may
 * conclude that they do not exist: until the loss is on record on the other disks and the cluster has been told
 * (admitIncomplete), everything about an object that is not found rejects with 'again'. See README.md.
 */
import type { Clock } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import { DiskError } from '../disk.js';
import { isOf } from '../object-path.js';
import type { BlockRun, ObjectStore, StoreStats, StoreWrite, StoreZero } from '../object-store.js';
import type { Store } from '../store.js';
import { Locator } from './locator.js';
import { diskLost } from './losses.js';
import type { Member } from './member.js';
import { Mover } from './mover.js';
import type { RootOf } from './placement.js';
import { type RebalancePace, Rebalancer } from './rebalancer.js';
import { Roster } from './roster.js';
import { sumStats } from './set-stats.js';

export interface DiskSetParts {
  readonly members: readonly Member[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly rootOf: RootOf;
  readonly generation: number;
  readonly incomplete: boolean;
  readonly pace: RebalancePace;
}

export class DiskSet implements ObjectStore {
  readonly failed: Promise<Error>;
  readonly roster: Roster;
  readonly rebalancer: Rebalancer;
  private readonly mover: Mover;
  private readonly locator: Locator;
  private uncommitted: () => readonly bigint[] = () => [];
  private closing: Promise<void> | undefined;

  constructor(parts: DiskSetParts) {
    const { clock, log, rootOf, pace } = parts;
    this.roster = new Roster({ ...parts, onGone: (member) => this.locator?.forgetMember(member) });
    this.failed = this.roster.failed;
    const ask = (member: Member, oid: bigint) => this.ask(member, () => member.store.has(oid));
    const locator = new Locator(() => this.roster.serving, rootOf, ask);
    this.locator = locator;
    const onTrouble = (member: Member, error: Error) => this.roster.drop(member, error);
    this.mover = new Mover({ clock, log, locator, onTrouble, recorded: () => this.roster.record.save() });
    const members = () => this.roster.list;
    this.rebalancer = new Rebalancer({ clock, log, members, locator, mover: this.mover, pace });
  }

  get members(): readonly Member[] {
    return this.roster.list;
  }

  /** Objects that went to another disk since the set was opened, and their bytes. */
  get moved(): { readonly objects: number; readonly bytes: number } {
    return { objects: this.mover.moved, bytes: this.mover.movedBytes };
  }

  // Reading -----------------------------------------------------------------------------------------------------

  read(oid: bigint, offset: number, length: number): Uint8Array | Promise<Uint8Array> {
    const member = this.roster.single ?? this.locator.find(oid);
    if (member === undefined) throw this.notFound(oid);
    try {
      const bytes = member.store.read(oid, offset, length);
      if (!(bytes instanceof Promise)) return bytes;
      return bytes.catch((error) => {
        throw this.explain(member, oid, error);
      });
    } catch (error) {
      throw this.explain(member, oid, error);
    }
  }

  has(oid: bigint): boolean {
    return this.look(oid, (member) => member.store.has(oid) || undefined) ?? false;
  }

  objectBytes(oid: bigint): number | undefined {
    return this.look(oid, (member) => member.store.objectBytes(oid));
  }

  blockRuns(oid: bigint): BlockRun[] | undefined {
    return this.look(oid, (member) => member.store.blockRuns(oid));
  }

  checksums(oid: bigint): Uint32Array | undefined {
    return this.look(oid, (member) => member.store.checksums(oid));
  }

  async verify(oid: bigint, options?: { readonly fromDevice?: boolean }): Promise<number[]> {
    const member = this.roster.single ?? this.locator.find(oid);
    if (member === undefined) throw this.notFound(oid);
    try {
      return await member.store.verify(oid, options);
    } catch (error) {
      throw this.explain(member, oid, error);
    }
  }

  /** Each at least once, also while objects move: then some twice. Throws 'again' when a disk is lost meanwhile. */
  async *objects(vid?: number): AsyncIterable<bigint> {
    const { count } = this.roster.losses;
    const moves = this.mover.watch();
    try {
      do {
        moves.overflow = false;
        for (const member of this.roster.list) yield* this.objectsOf(member, vid);
      } while (moves.overflow);
      for (const oid of moves.take()) if (isOf(vid, oid) && this.has(oid)) yield oid;
    } finally {
      this.mover.unwatch(moves);
    }
    if (count !== this.roster.losses.count) throw diskLost();
  }

  // Changing ----------------------------------------------------------------------------------------------------

  write(request: StoreWrite): Promise<void> {
    const { direct } = this;
    if (direct !== undefined) return direct.write(request);
    const { oid, objectBytes } = request;
    return this.change(oid, objectBytes, (member) =>
      this.copying(request, member, (source) => member.store.write(request, source)),
    );
  }

  zero(request: StoreZero): Promise<void> {
    const { direct } = this;
    if (direct !== undefined) return direct.zero(request);
    const { oid, objectBytes } = request;
    return this.change(oid, objectBytes, (member) =>
      this.copying(request, member, (source) => member.store.zero(request, source)),
    );
  }

  remove(oid: bigint, epoch: number, sync: boolean): Promise<void> {
    const { direct } = this;
    if (direct !== undefined) return direct.remove(oid, epoch, sync);
    const run = (member: Member) => {
      this.locator.forget(oid);
      return member.store.remove(oid, epoch, sync);
    };
    return this.change(oid, 0, run, true);
  }

  touch(oid: bigint, epoch: number): Promise<void> {
    const { direct } = this;
    if (direct !== undefined) return direct.touch(oid, epoch);
    return this.change(oid, 0, (member) => member.store.touch(oid, epoch));
  }

  adopt(oid: bigint, blocks: readonly number[]): Promise<void> {
    const { direct } = this;
    if (direct !== undefined) return direct.adopt(oid, blocks);
    return this.change(oid, 0, (member) => member.store.adopt(oid, blocks));
  }

  spoil(oid: bigint, blocks: readonly number[], sums: readonly number[], epoch: number): Promise<void> {
    const { direct } = this;
    if (direct !== undefined) return direct.spoil(oid, blocks, sums, epoch);
    return this.change(oid, 0, (member) => member.store.spoil(oid, blocks, sums, epoch));
  }

  /** While a loss is not known to the cluster nobody gets a promise; afterwards it is about the disks that are left. */
  async flush(): Promise<void> {
    for (;;) {
      const { count } = this.roster.losses;
      const isSame = () => count === this.roster.losses.count && !this.roster.losses.blind;
      if (this.roster.list.length === 0) throw diskLost();
      try {
        await Promise.all(this.roster.list.map((member) => member.store.flush()));
        if (isSame()) return;
      } catch (error) {
        if (isSame()) throw error;
      }
      await this.roster.losses.over();
      if (this.closing !== undefined) throw new AppError('shutdown', 'the store is closed');
    }
  }

  // Epochs and suspects -----------------------------------------------------------------------------------------

  async touchedSince(epoch: number): Promise<bigint[]> {
    if (this.roster.losses.blind) throw diskLost();
    if (this.roster.single !== undefined) return this.roster.single.store.touchedSince(epoch);
    const oids = new Set<bigint>();
    for (const { store } of this.roster.list)
      for (const oid of await store.touchedSince(epoch)) oids.add(oid);
    return [...oids];
  }

  async forgetTouchedBefore(epoch: number): Promise<void> {
    await Promise.all(this.roster.list.map(({ store }) => store.forgetTouchedBefore(epoch)));
  }

  setUncommittedSource(source: () => readonly bigint[]): void {
    this.uncommitted = source;
    for (const { store } of this.roster.list) store.setUncommittedSource(source);
  }

  suspects(): ReadonlySet<bigint> {
    return new Set(this.roster.list.flatMap(({ store }) => [...store.suspects()]));
  }

  mayBeTorn(oid: bigint): boolean {
    return this.roster.list.some(({ store }) => store.mayBeTorn(oid));
  }

  async clearSuspects(oids: readonly bigint[]): Promise<void> {
    await Promise.all(this.roster.list.map(({ store }) => store.clearSuspects(oids)));
  }

  get lossy(): boolean {
    return this.roster.list.some(({ store }) => store.lossy);
  }

  async clearLossy(): Promise<void> {
    await Promise.all(this.roster.list.map(({ store }) => store.clearLossy()));
  }

  readonly stats = (): StoreStats => sumStats(this.roster.list);

  // Losses ------------------------------------------------------------------------------------------------------

  get incomplete(): boolean {
    return this.roster.record.incomplete;
  }

  onIncomplete(listener: (reason: Error) => void): void {
    this.roster.onLoss(listener);
  }

  admitIncomplete(): void {
    this.roster.losses.admit();
  }

  async clearIncomplete(): Promise<void> {
    if (this.roster.losses.blind || !this.roster.record.incomplete || this.closing !== undefined) return;
    this.roster.record.incomplete = false;
    await this.roster.record.save();
  }

  /** Takes in a disk that belongs to the set: see Roster. */
  include(member: Member): void {
    // What went straight to the only disk so far is not there yet, and must not be made on the new one too.
    if (this.roster.single !== undefined) this.beginUnderWay(this.roster.single);
    member.store.setUncommittedSource(this.uncommitted);
    this.roster.include(member);
    this.rebalancer.wake();
  }

  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  private async shutDown(): Promise<void> {
    this.roster.close();
    await this.rebalancer.stop();
    const closed = await Promise.allSettled(this.roster.list.map(({ store }) => store.close()));
    for (const result of closed) if (result.status === 'rejected') throw result.reason;
  }

  private beginUnderWay(only: Member): void {
    for (const oid of only.store.underWay()) {
      this.locator.begin(oid, only);
      const end = () => this.locator.end(oid);
      only.store.barrier(oid).then(end, end);
    }
  }

  // One operation -----------------------------------------------------------------------------------------------

  /** The store to which changes go as they come. */
  private get direct(): Store | undefined {
    return this.mover.busy ? undefined : this.roster.single?.store;
  }

  private change(
    oid: bigint,
    objectBytes: number,
    run: (member: Member) => Promise<void>,
    removes = false,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const start = () => {
        try {
          this.changeNow(oid, objectBytes, run, removes).then(resolve, reject);
        } catch (error) {
          reject(error);
        }
      };
      if (!this.mover.defer(oid, start)) start();
    });
  }

  private changeNow(
    oid: bigint,
    objectBytes: number,
    run: (member: Member) => Promise<void>,
    removes: boolean,
  ): Promise<void> {
    // Until the last of several changes that make and destroy an object is done, they all go to one disk.
    const isBeginning = this.locator.isBeginning(oid);
    const found = this.locator.find(oid);
    if (found !== undefined && !isBeginning && !removes) return run(found);
    if (found === undefined) this.checkMissing();
    const member = found ?? this.locator.homeOfNew(oid, objectBytes);
    this.locator.begin(oid, member);
    return run(member).finally(() => this.locator.end(oid));
  }

  /** A change that may need another object of another disk. */
  private copying(
    request: StoreWrite | StoreZero,
    member: Member,
    run: (source: Store | undefined) => Promise<void>,
  ): Promise<void> {
    const { mode, parent } = request;
    if (mode !== 'cow' || parent === undefined) return run(undefined);
    const source = this.locator.find(parent);
    if (source === undefined) throw this.notFound(parent);
    const done = run(source === member ? undefined : source.store);
    this.mover.use(parent, source, done);
    return done;
  }

  /** What the object's disk says of it; undefined only when it is certain that no disk has it. */
  private look<T>(oid: bigint, ask: (member: Member) => T | undefined): T | undefined {
    const member = this.roster.single ?? this.locator.find(oid);
    const found = member === undefined ? undefined : this.ask(member, () => ask(member));
    if (found === undefined) this.checkMissing();
    return found;
  }

  private async *objectsOf(member: Member, vid: number | undefined): AsyncIterable<bigint> {
    try {
      yield* member.store.objects(vid);
    } catch (error) {
      throw member.live ? error : diskLost();
    }
  }

  private ask<T>(member: Member, question: () => T): T {
    try {
      return question();
    } catch (error) {
      if (!(error instanceof DiskError) || error.code === 'too-many-files') throw error;
      this.roster.drop(member, error);
      throw diskLost();
    }
  }

  private notFound(oid: bigint): AppError {
    try {
      this.checkMissing();
    } catch (error) {
      return AppError.from(error);
    }
    return new AppError('no-object', `no object ${oid.toString(16)}`);
  }

  /** Throws unless what is not found does not exist. */
  private checkMissing(): void {
    if (this.roster.losses.blind || this.roster.list.length === 0) throw diskLost();
    this.checkPresence();
  }

  /** A directory may be deleted under our feet: what is not there says nothing then. */
  private checkPresence(): void {
    for (const member of this.roster.list) this.ask(member, () => member.checkPresence());
  }

  private explain(member: Member, oid: bigint, error: unknown): unknown {
    if (!member.live) return diskLost();
    if (AppError.isCode(error, 'no-object')) return this.notFound(oid);
    if (member.store.stopped) {
      this.roster.drop(member, member.store.stopped);
      return diskLost();
    }
    return error;
  }
}
