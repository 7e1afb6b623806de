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
import { Signal } from '../../base/signal.js';
import { DiskError } from '../disk.js';
import type { BlockRun, ObjectStore, StoreStats, StoreWrite, StoreZero } from '../object-store.js';
import { Locator } from './locator.js';
import type { Member } from './member.js';
import { Mover } from './mover.js';
import type { RootOf } from './placement.js';
import { type RebalancePace, Rebalancer } from './rebalancer.js';
import { SetRecord } from './set-record.js';
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

/** Files of a lost disk stay open for so long: what is in flight must not meet another file under its descriptor. */
const LINGER_MS = 30_000;

export class DiskSet implements ObjectStore {
  readonly failed: Promise<Error>;
  readonly record: SetRecord;
  readonly rebalancer: Rebalancer;
  readonly mover: Mover;
  private list: readonly Member[];
  /** The one disk of a set that is whole: then everything goes straight to its store. */
  private single: Member | undefined;
  private readonly locator: Locator;
  private readonly listeners: ((reason: Error) => void)[] = [];
  private uncommitted: () => readonly bigint[] = () => [];
  private resolveFailed: (error: Error) => void = () => {};
  /** Present while what is not found may lie on a lost disk; fires when that is over. */
  private blind: Signal<void> | undefined;
  private losses = 0;
  private admitted = 0;
  private recorded = 0;
  private closing: Promise<void> | undefined;

  constructor(private readonly parts: DiskSetParts) {
    const { clock, log, rootOf, generation, incomplete } = parts;
    this.list = parts.members;
    this.failed = new Promise((resolve) => {
      this.resolveFailed = resolve;
    });
    const onTrouble = (member: Member, error: Error) => this.drop(member, error);
    const members = () => this.list;
    this.locator = new Locator(members, rootOf, (member, oid) => this.ask(member, () => member.store.has(oid)));
    this.record = new SetRecord({ log, members, generation, incomplete, onTrouble });
    const recorded = () => this.record.save();
    this.mover = new Mover({ clock, log, locator: this.locator, onTrouble, recorded });
    this.rebalancer = new Rebalancer({ clock, log, members, locator: this.locator, mover: this.mover, pace: parts.pace });
    for (const member of this.list) this.attach(member);
    this.changed();
  }

  get members(): readonly Member[] {
    return this.list;
  }

  // Reading -----------------------------------------------------------------------------------------------------

  read(oid: bigint, offset: number, length: number): Uint8Array | Promise<Uint8Array> {
    const member = this.single ?? this.locator.find(oid);
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
    const member = this.single ?? this.locator.find(oid);
    if (member === undefined) throw this.notFound(oid);
    try {
      return await member.store.verify(oid, options);
    } catch (error) {
      throw this.explain(member, oid, error);
    }
  }

  async *objects(): AsyncIterable<bigint> {
    for (const member of this.list) yield* member.store.objects();
  }

  // Changing ----------------------------------------------------------------------------------------------------

  write(request: StoreWrite): Promise<void> {
    if (this.single !== undefined) return this.single.store.write(request);
    const { oid, objectBytes } = request;
    return this.change(oid, objectBytes, (member) => member.store.write(request, this.sourceOf(request, member)));
  }

  zero(request: StoreZero): Promise<void> {
    if (this.single !== undefined) return this.single.store.zero(request);
    const { oid, objectBytes } = request;
    return this.change(oid, objectBytes, (member) => member.store.zero(request, this.sourceOf(request, member)));
  }

  remove(oid: bigint, epoch: number, sync: boolean): Promise<void> {
    if (this.single !== undefined) return this.single.store.remove(oid, epoch, sync);
    return this.change(oid, 0, (member) => {
      this.locator.forget(oid);
      return member.store.remove(oid, epoch, sync);
    });
  }

  touch(oid: bigint, epoch: number): Promise<void> {
    if (this.single !== undefined) return this.single.store.touch(oid, epoch);
    return this.change(oid, 0, (member) => member.store.touch(oid, epoch));
  }

  adopt(oid: bigint, blocks: readonly number[]): Promise<void> {
    if (this.single !== undefined) return this.single.store.adopt(oid, blocks);
    return this.change(oid, 0, (member) => member.store.adopt(oid, blocks));
  }

  /** While a loss is not known to the cluster nobody gets a promise; afterwards it is about the disks that are left. */
  async flush(): Promise<void> {
    for (;;) {
      const { losses } = this;
      if (this.list.length === 0) throw new AppError('again', 'the last disk is lost');
      try {
        await Promise.all(this.list.map((member) => member.store.flush()));
        if (losses === this.losses && this.blind === undefined) return;
      } catch (error) {
        if (losses === this.losses && this.blind === undefined) throw error;
      }
      await this.blind?.promise;
      if (this.closing !== undefined) throw new AppError('shutdown', 'the store is closed');
    }
  }

  // Epochs and suspects -----------------------------------------------------------------------------------------

  async touchedSince(epoch: number): Promise<bigint[]> {
    if (this.blind !== undefined) throw this.lost();
    if (this.single !== undefined) return this.single.store.touchedSince(epoch);
    const oids = new Set<bigint>();
    for (const { store } of this.list) for (const oid of await store.touchedSince(epoch)) oids.add(oid);
    return [...oids];
  }

  async forgetTouchedBefore(epoch: number): Promise<void> {
    await Promise.all(this.list.map(({ store }) => store.forgetTouchedBefore(epoch)));
  }

  setUncommittedSource(source: () => readonly bigint[]): void {
    this.uncommitted = source;
    for (const { store } of this.list) store.setUncommittedSource(source);
  }

  suspects(): ReadonlySet<bigint> {
    return new Set(this.list.flatMap(({ store }) => [...store.suspects()]));
  }

  async clearSuspects(oids: readonly bigint[]): Promise<void> {
    await Promise.all(this.list.map(({ store }) => store.clearSuspects(oids)));
  }

  get lossy(): boolean {
    return this.list.some(({ store }) => store.lossy);
  }

  async clearLossy(): Promise<void> {
    await Promise.all(this.list.map(({ store }) => store.clearLossy()));
  }

  readonly stats = (): StoreStats => sumStats(this.list);

  // Losses ------------------------------------------------------------------------------------------------------

  get incomplete(): boolean {
    return this.record.incomplete;
  }

  onIncomplete(listener: (reason: Error) => void): void {
    this.listeners.push(listener);
  }

  admitIncomplete(): void {
    this.admitted = this.losses;
    this.see();
  }

  async clearIncomplete(): Promise<void> {
    if (this.blind !== undefined || !this.record.incomplete || this.closing !== undefined) return;
    this.record.incomplete = false;
    await this.record.save();
  }

  /** The disk is none of the set any more, whatever it still says. */
  drop(member: Member, error: Error): void {
    if (!member.live || this.closing !== undefined) return;
    this.parts.log.error({ disk: member.name, err: error.message }, 'a disk is lost: going on without it');
    this.detach(member);
    member.store.abandon(error);
    this.parts.clock.after(LINGER_MS, () => void member.store.close().catch(() => {}));
    if (this.list.length === 0) {
      this.resolveFailed(error);
      return;
    }
    const loss = ++this.losses;
    this.record.incomplete = true;
    this.blind ??= new Signal();
    this.changed();
    this.record.save().then(
      () => {
        this.recorded = Math.max(this.recorded, loss);
        this.see();
      },
      (failure) => this.parts.log.error({ err: AppError.from(failure).message }, 'a loss is not on record'),
    );
    for (const listener of this.listeners) listener(error);
  }

  // Disks that come and go --------------------------------------------------------------------------------------

  /** From the next operation on the disk is one of the set. Its record must be durable. */
  include(member: Member): void {
    this.list = [...this.list, member];
    this.attach(member);
    member.store.setUncommittedSource(this.uncommitted);
    this.changed();
    this.rebalancer.wake();
  }

  /** Takes out a disk that has no objects any more. */
  exclude(member: Member): void {
    this.detach(member);
    this.changed();
  }

  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  private async shutDown(): Promise<void> {
    this.blind?.fire();
    for (const member of this.list) member.stopWatching();
    await this.rebalancer.stop();
    const closed = await Promise.allSettled(this.list.map(({ store }) => store.close()));
    for (const result of closed) if (result.status === 'rejected') throw result.reason;
  }

  private attach(member: Member): void {
    const { clock } = this.parts;
    member.watch(clock, (error) => this.drop(member, error));
    void member.store.failed.then((error) => this.drop(member, error));
  }

  private detach(member: Member): void {
    member.live = false;
    member.stopWatching();
    this.list = this.list.filter((other) => other !== member);
    this.locator.forgetMember(member);
  }

  private changed(): void {
    this.single = this.list.length === 1 && this.blind === undefined ? this.list[0] : undefined;
  }

  private see(): void {
    if (this.blind === undefined || this.admitted < this.losses || this.recorded < this.losses) return;
    const { blind } = this;
    this.blind = undefined;
    this.changed();
    blind.fire();
  }

  // One operation -----------------------------------------------------------------------------------------------

  private change(oid: bigint, objectBytes: number, run: (member: Member) => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const start = () => {
        try {
          this.changeNow(oid, objectBytes, run).then(resolve, reject);
        } catch (error) {
          reject(error);
        }
      };
      if (!this.mover.defer(oid, start)) start();
    });
  }

  private changeNow(oid: bigint, objectBytes: number, run: (member: Member) => Promise<void>): Promise<void> {
    const found = this.locator.find(oid);
    if (found !== undefined) return run(found);
    if (this.blind !== undefined || this.list.length === 0) throw this.lost();
    this.checkPresence();
    const member = this.locator.homeOfNew(oid, objectBytes);
    this.locator.begin(oid, member);
    return run(member).finally(() => this.locator.end(oid));
  }

  /** The store that has the parent of a copy, when that is not the one that gets it. */
  private sourceOf(request: StoreWrite | StoreZero, member: Member) {
    const { mode, parent } = request;
    if (mode !== 'cow' || parent === undefined) return undefined;
    const source = this.locator.find(parent);
    if (source === undefined) throw this.notFound(parent);
    return source === member ? undefined : source.store;
  }

  /** What the object's disk says of it; undefined only when it is certain that no disk has it. */
  private look<T>(oid: bigint, ask: (member: Member) => T | undefined): T | undefined {
    const member = this.single ?? this.locator.find(oid);
    const found = member === undefined ? undefined : this.ask(member, () => ask(member));
    if (found === undefined) this.checkMissing();
    return found;
  }

  private ask<T>(member: Member, question: () => T): T {
    try {
      return question();
    } catch (error) {
      if (!(error instanceof DiskError) || error.code === 'too-many-files') throw error;
      this.drop(member, error);
      throw this.lost();
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
    if (this.blind !== undefined || this.list.length === 0) throw this.lost();
    this.checkPresence();
  }

  /** A directory may be deleted under our feet: what is not there says nothing then. */
  private checkPresence(): void {
    for (const member of this.list) this.ask(member, () => member.checkPresence());
  }

  private explain(member: Member, oid: bigint, error: unknown): unknown {
    if (!member.live) return this.lost();
    if (AppError.isCode(error, 'no-object')) return this.notFound(oid);
    if (member.store.stopped) {
      this.drop(member, member.store.stopped);
      return this.lost();
    }
    return error;
  }

  private lost(): AppError {
    return new AppError('again', 'a disk of this node was lost');
  }
}
