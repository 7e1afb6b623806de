/**
 * Which disks a set has now, and what happens when one is lost: it is none of the set from that instant on, whatever it
 * still says; the others get it on record; who listens is told. Disks that come and go by order: disk-changes.ts.
 */
import type { Clock, Timer } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import { Losses } from './losses.js';
import type { Member } from './member.js';
import { SetRecord } from './set-record.js';

/** Files of a lost disk stay open for so long: what is in flight must not meet another file under its descriptor. */
const LINGER_MS = 30_000;

export interface RosterOptions {
  readonly members: readonly Member[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly generation: number;
  readonly incomplete: boolean;
  /** A disk is none of the set any more; whatever is remembered about it is void. Called before anything else. */
  readonly onGone: (member: Member) => void;
}

export class Roster {
  readonly failed: Promise<Error>;
  readonly record: SetRecord;
  readonly losses = new Losses(() => this.changed());
  list: readonly Member[] = [];
  /** Without those that only wait to be taken out: where objects are looked for and put. */
  serving: readonly Member[] = [];
  /** The one disk of a set that is whole: then everything goes straight to its store. */
  single: Member | undefined;
  private readonly listeners: ((reason: Error) => void)[] = [];
  private lingering: { readonly member: Member; readonly timer: Timer }[] = [];
  private resolveFailed: (error: Error) => void = () => {};
  private closed = false;

  constructor(private readonly options: RosterOptions) {
    const { log, generation, incomplete } = options;
    this.failed = new Promise((resolve) => {
      this.resolveFailed = resolve;
    });
    const onTrouble = (member: Member, error: Error) => this.drop(member, error);
    this.record = new SetRecord({ log, members: () => this.list, generation, incomplete, onTrouble });
    for (const member of options.members) this.include(member);
  }

  onLoss(listener: (reason: Error) => void): void {
    this.listeners.push(listener);
  }

  drop(member: Member, error: Error): void {
    if (!member.live || this.closed) return;
    const { log, clock } = this.options;
    log.error({ disk: member.name, err: error.message }, 'a disk is lost');
    this.exclude(member);
    member.store.abandon(error);
    this.lingering.push({ member, timer: clock.after(LINGER_MS, () => this.closeLost(member)) });
    if (this.list.length === 0) {
      this.resolveFailed(error);
      return;
    }
    const loss = this.losses.begin();
    this.record.incomplete = true;
    this.changed();
    this.record.save().then(
      () => this.losses.record(loss),
      (failure) => log.error({ err: AppError.from(failure).message }, 'a loss is not on record'),
    );
    for (const listener of this.listeners) listener(error);
  }

  /** From now on the disk is one of the set. Its record must be durable. */
  include(member: Member): void {
    this.list = [...this.list, member];
    member.watch(this.options.clock, (error) => this.drop(member, error));
    void member.store.failed.then((error) => this.drop(member, error));
    this.changed();
  }

  /** Nothing is looked for or put there any more, or it is again: a disk that seems to have no objects left. */
  retire(member: Member, empty: boolean): void {
    member.empty = empty;
    this.options.onGone(member);
    this.changed();
  }

  /** Takes a disk out that has nothing any more, or is lost. */
  exclude(member: Member): void {
    member.live = false;
    member.stopWatching();
    this.list = this.list.filter((other) => other !== member);
    this.options.onGone(member);
    this.changed();
  }

  close(): void {
    this.closed = true;
    this.losses.close();
    for (const member of this.list) member.stopWatching();
    for (const { member, timer } of this.lingering) {
      timer.cancel();
      this.closeLost(member);
    }
  }

  /** Nothing of what it says matters any more. */
  private closeLost(member: Member): void {
    this.lingering = this.lingering.filter((each) => each.member !== member);
    void member.store.close().catch(() => {});
  }

  private changed(): void {
    this.serving = this.list.filter((member) => !member.empty);
    this.single = this.list.length === 1 && !this.losses.blind ? this.list[0] : undefined;
  }
}
