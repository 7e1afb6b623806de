import { AppError } from '../base/errors.js';
import type { Membership } from '../cluster/epochs/membership.js';
import { Mirror } from '../cluster/epochs/mirror.js';
import type { Coordinator } from '../coord/coordinator.js';

export const LOCK_PREFIX = 'lock/';

/** What a client with a shared lock may believe of the index it has read (reference, section 6.9). */
export type ShareState = 'modified' | 'shared' | 'invalidated';

/** One client of the sheepdog protocol that has a volume open, at the sheep it is connected to. */
export interface LockHolder {
  readonly id: string;
  readonly nodeId: string;
  readonly incarnation: string;
  /** tgt opens so: several of them may export one volume. */
  readonly shared: boolean;
  /** Of a shared holder. */
  readonly state?: ShareState;
  /** It has written although others had the volume open before: those are fenced (I-9). */
  readonly wrote?: boolean;
}

export interface LocksOptions {
  readonly coordinator: Coordinator;
  readonly membership: Membership;
  readonly selfId: string;
  /** A volume that somebody has open is refused to others (`cluster format -l`). */
  readonly exclusive: boolean;
}

/** What one node remembers of a line: who has it open, in the order of opening. */
type Holders = readonly LockHolder[];

const TRIES_MAX = 100;

/**
 * Who has which volume open by the sheepdog protocol (I-9). A lock belongs to the line, so it moves with the working
 * volume over snapshots, and snapshots have none. It lives as long as its sheep's registration: one record a line, in
 * which holders of incarnations that are gone do not count.
 */
export class Locks {
  private readonly mirror: Mirror;
  /** Asked before each write, so not parsed each time. */
  private readonly parsed = new Map<
    string,
    { text: string; view: unknown; incarnation: string; holders: Holders }
  >();
  private count = 0;

  constructor(private readonly options: LocksOptions) {
    this.mirror = new Mirror(options.coordinator, LOCK_PREFIX, (keys) => {
      for (const key of keys) this.parsed.delete(key.slice(LOCK_PREFIX.length));
    });
  }

  start(): Promise<void> {
    return this.mirror.start();
  }

  stop(): void {
    this.mirror.stop();
  }

  get exclusive(): boolean {
    return this.options.exclusive;
  }

  /** Clients that have the volume open, oldest first. */
  holders(line: string): Holders {
    const text = this.mirror.entries.get(LOCK_PREFIX + line);
    if (text === undefined) return [];
    const { view, incarnation } = this.options.membership;
    const known = this.parsed.get(line);
    if (known?.text === text && known.view === view && known.incarnation === incarnation)
      return known.holders;
    const holders = this.alive(text);
    this.parsed.set(line, { text, view, incarnation, holders });
    return holders;
  }

  /** Waits until what other sheep have written is known here. */
  catchUp(): Promise<void> {
    return this.mirror.catchUp();
  }

  /** Every line that somebody has open. */
  lines(): string[] {
    const lines = [...this.mirror.entries.keys()].map((key) => key.slice(LOCK_PREFIX.length));
    return lines.filter((line) => this.holders(line).length > 0);
  }

  has(line: string, id: string): boolean {
    return this.holders(line).some((holder) => holder.id === id);
  }

  /** True: nobody else has it open. */
  isAlone(line: string, id: string): boolean {
    const holders = this.holders(line);
    return holders.length === 1 && holders[0]!.id === id;
  }

  /** True: a later opener has taken the volume over, so this one's picture of it is stale for good. */
  isFenced(line: string, id: string): boolean {
    const holders = this.holders(line);
    const at = holders.findIndex((holder) => holder.id === id);
    if (at < 0 || holders[at]!.shared) return false;
    return holders.slice(at + 1).some((later) => later.wrote === true);
  }

  /** Opens the volume for a client of this sheep; rejects with 'vdi-locked'. Resolves with the holder's id. */
  async lock(line: string, shared: boolean): Promise<string> {
    const { membership, selfId } = this.options;
    const { incarnation } = membership;
    const id = `${selfId.slice(0, 8)}.${incarnation.slice(0, 8)}.${++this.count}`;
    let result = id;
    await this.update(line, (holders) => {
      // One tgt asks again when its volume went on as another version.
      const mine = shared && holders.find((h) => h.shared && h.nodeId === selfId);
      if (mine) {
        result = mine.id;
        return holders;
      }
      if (this.options.exclusive && holders.some((h) => !shared || !h.shared)) {
        throw new AppError('vdi-locked', 'VDI is already locked');
      }
      const holder: LockHolder = { id, nodeId: selfId, incarnation, shared };
      return [...holders, shared ? { ...holder, state: firstState(holders) } : holder];
    });
    return result;
  }

  /** Gives up what `matches`; quietly when there is nothing. */
  async unlock(line: string, matches: (holder: LockHolder) => boolean): Promise<void> {
    if (!this.holders(line).some(matches)) return;
    await this.update(line, (holders) => holders.filter((holder) => !matches(holder)));
  }

  /** The first write of somebody who was not the first to open: from now on the earlier ones are fenced. */
  async takeOver(line: string, id: string): Promise<void> {
    const holders = this.holders(line);
    const at = holders.findIndex((holder) => holder.id === id);
    if (at <= 0 || holders[at]!.wrote || holders.slice(0, at).every((h) => h.shared)) return;
    await this.update(line, (now) => now.map((h) => (h.id === id ? { ...h, wrote: true } : h)));
  }

  /** The state of this sheep's shared holder; undefined without one. */
  ownState(line: string): ShareState | undefined {
    return this.holders(line).find((h) => h.shared && h.nodeId === this.options.selfId)?.state;
  }

  /** This sheep's shared client has read the index afresh: it and all who were right share the same one now. */
  async refreshed(line: string): Promise<void> {
    await this.setStates(line, (holder) =>
      holder.nodeId === this.options.selfId || holder.state !== 'invalidated' ? 'shared' : 'invalidated',
    );
  }

  /** This sheep's shared client is about to change the index: everybody else's is stale. */
  async invalidateOthers(line: string): Promise<void> {
    await this.setStates(line, (holder) =>
      holder.nodeId === this.options.selfId ? 'modified' : 'invalidated',
    );
  }

  private async setStates(line: string, stateOf: (holder: LockHolder) => ShareState): Promise<void> {
    const next = (holders: Holders) =>
      holders.map((holder) => (holder.shared ? { ...holder, state: stateOf(holder) } : holder));
    const now = this.holders(line);
    if (JSON.stringify(next(now)) === JSON.stringify(now)) return;
    await this.update(line, next);
  }

  private alive(text: string | undefined): Holders {
    if (text === undefined) return [];
    const { view, incarnation } = this.options.membership;
    return (JSON.parse(text) as LockHolder[]).filter((holder) => {
      if (holder.nodeId === this.options.selfId) return holder.incarnation === incarnation;
      const node = view?.nodes.get(holder.nodeId);
      return node?.up === true && node.incarnation === holder.incarnation;
    });
  }

  private async update(line: string, change: (holders: Holders) => Holders): Promise<void> {
    const { coordinator } = this.options;
    const key = LOCK_PREFIX + line;
    for (let attempt = 0; attempt < TRIES_MAX; attempt++) {
      const kv = await coordinator.get(key);
      const before = this.alive(kv?.value);
      const after = change(before);
      const text = JSON.stringify(after);
      if (kv?.value === text || (kv === undefined && after.length === 0)) return;
      const compare = kv === undefined ? { key, exists: false } : { key, value: kv.value };
      const op =
        after.length === 0 ? { type: 'delete' as const, key } : { type: 'put' as const, key, value: text };
      const result = await coordinator.txn([compare], [op]);
      if (!result.ok) continue;
      await this.mirror.seen(result.revision);
      return;
    }
    throw new AppError('again', 'the lock of the volume changes too fast');
  }
}

function firstState(holders: Holders): ShareState {
  if (!holders.some((h) => h.shared)) return 'modified';
  return holders.some((h) => h.state === 'modified') ? 'invalidated' : 'shared';
}
