import { type Clock, sleep } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { Coordinator, KeyValue, Lease, Op } from './coordinator.js';
import { changeStanding, MOVER_KEY, readStanding, STANDING_KEY, type Standing } from './standing.js';

/** The lease of the mover: so long after its death the cluster goes on where it was. */
const MOVER_TTL_MS = 5000;
/** Sheep that do not give up their leases in this time end the move. */
const EMPTY_LIMIT_MS = 30_000;
const LOOK_MS = 50;
/** A transaction of the copy: within what every driver takes. */
const BATCH_KEYS = 100;
const BATCH_BYTES = 256 * 1024;
/** How often a step with an unknown outcome is looked at again. */
const TRIES_MAX = 20;

export interface MoveOptions {
  readonly source: Coordinator;
  readonly target: Coordinator;
  readonly sourceAddress: string;
  readonly targetAddress: string;
  /** A random text of this move. */
  readonly id: string;
  /** Which cluster of sheep this is. */
  readonly cluster: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Moves a cluster of sheep to another coordinator. The steps, and what a crash after each leaves:
 *
 * 1. `begin`: the target takes 'arriving' (nobody uses it: the source is in force), the source 'moving' (nothing can
 *    be written any more; sheep give up their leases). The mover's lease ends with the mover: whoever opens the
 *    source then sets it back to 'here'.
 * 2. `finish` waits until no key of the source hangs on a lease but the mover's own: nobody acts by its word now.
 * 3. It copies all keys. The source cannot change meanwhile.
 * 4. It sets the source from 'moving' to 'moved', on condition that the mover's lease still lives. This decides.
 * 5. It sets the target from 'arriving' to 'here'. Whoever follows the source's word does the same.
 */
export class CoordinatorMove {
  private lease: Lease | undefined;

  constructor(private readonly options: MoveOptions) {}

  /**
   * Rejects, with nothing changed, with AppError 'exists' when the target holds something else, 'again' when a move
   * is under way.
   */
  async begin(): Promise<void> {
    const { source, targetAddress, id, cluster } = this.options;
    await this.prepareTarget();
    const lease = await source.grantLease(MOVER_TTL_MS);
    this.lease = lease;
    const known = await readStanding(source);
    if (known.standing.state !== 'here') throw new AppError('again', 'the cluster is moving already');
    const standing: Standing = { state: 'moving', id, to: targetAddress, cluster };
    const { ok } = await source.txn(
      [
        { key: STANDING_KEY, modRevision: known.modRevision },
        { key: MOVER_KEY, exists: false },
      ],
      [
        { type: 'put', key: STANDING_KEY, value: JSON.stringify(standing) },
        { type: 'put', key: MOVER_KEY, value: id, lease: lease.id },
      ],
    );
    if (ok) return;
    await lease.revoke().catch(() => {});
    throw new AppError('again', 'the cluster is moving already');
  }

  /** Resolves once the target is in force. Rejects when the source goes on being so. */
  async finish(): Promise<void> {
    try {
      const entries = await this.whenEmpty();
      await this.copy(entries);
      await this.decide();
    } catch (error) {
      await this.undo();
      throw error;
    }
    await this.arrive();
    await this.lease?.revoke().catch(() => {});
  }

  /** Empty, or left by an earlier try of this very cluster, or left by this cluster when it moved away from there. */
  private async prepareTarget(): Promise<void> {
    const { target, sourceAddress, id, cluster } = this.options;
    const known = await readStanding(target);
    const { standing } = known;
    const { entries } = await target.list('');
    const isOurs =
      standing.cluster === cluster && (standing.state === 'arriving' || standing.state === 'moved');
    if (entries.length > 0 && !isOurs) {
      throw new AppError('exists', 'the new coordinator holds another cluster already: choose another name');
    }
    const arriving: Standing = { state: 'arriving', id, from: sourceAddress, cluster };
    if (!(await changeStanding(target, known, arriving))) {
      throw new AppError('again', 'somebody else is writing to the new coordinator');
    }
    for (const batch of batches(entries.filter(({ key }) => key !== STANDING_KEY))) {
      await this.write(batch.map(({ key }): Op => ({ type: 'delete', key })));
    }
  }

  private async whenEmpty(): Promise<KeyValue[]> {
    const { source, clock, log } = this.options;
    const endMs = clock.nowMs() + EMPTY_LIMIT_MS;
    for (;;) {
      const { entries } = await source.list('');
      const held = entries.filter(({ lease, key }) => lease !== undefined && key !== MOVER_KEY);
      if (held.length === 0) return entries.filter(({ key }) => key !== MOVER_KEY && key !== STANDING_KEY);
      if (clock.nowMs() > endMs) {
        const keys = held.slice(0, 5).map(({ key }) => key);
        log.warn({ keys }, 'some sheep do not let go of the coordinator');
        throw new AppError('again', `some sheep did not let go: ${keys.join(', ')}`);
      }
      await sleep(clock, LOOK_MS);
    }
  }

  /** In the order in which they were made, which some listings show. */
  private async copy(entries: KeyValue[]): Promise<void> {
    const ordered = [...entries].sort((a, b) => a.createRevision - b.createRevision);
    for (const batch of batches(ordered)) {
      await this.write(batch.map(({ key, value }): Op => ({ type: 'put', key, value })));
    }
    const { entries: copied } = await this.options.target.list('');
    const texts = new Map(copied.map(({ key, value }) => [key, value]));
    texts.delete(STANDING_KEY);
    const isSame =
      texts.size === entries.length && entries.every(({ key, value }) => texts.get(key) === value);
    if (!isSame) throw new AppError('system', 'the copy of the coordinator is not what was copied');
  }

  /** Done twice it is as good as once; done late, when another move has begun, it is not done. */
  private async write(ops: Op[]): Promise<void> {
    const { target, clock, id } = this.options;
    for (let tries = 1; ; tries++) {
      try {
        const { standing, modRevision } = await readStanding(target);
        if (standing.state === 'arriving' && standing.id === id) {
          const { ok } = await target.txn([{ key: STANDING_KEY, modRevision }], ops);
          if (ok) return;
        }
        throw new AppError('again', 'somebody else is writing to the new coordinator');
      } catch (error) {
        if (!AppError.isCode(error, 'network') || tries === TRIES_MAX) throw error;
      }
      await sleep(clock, LOOK_MS);
    }
  }

  /** After an unknown outcome nothing is done before it is known. */
  private async decide(): Promise<void> {
    const { source, targetAddress, id, cluster, clock } = this.options;
    const moved: Standing = { state: 'moved', id, to: targetAddress, cluster };
    for (;;) {
      try {
        const known = await readStanding(source);
        if (known.standing.id === id && known.standing.state === 'moved') return;
        const isMoving = known.standing.id === id && known.standing.state === 'moving';
        const lives = [{ key: MOVER_KEY, value: id }];
        if (isMoving && (await changeStanding(source, known, moved, lives))) return;
        throw new AppError('again', 'the move took too long and was given up');
      } catch (error) {
        if (!AppError.isCode(error, 'network')) throw error;
      }
      await sleep(clock, LOOK_MS);
    }
  }

  private async undo(): Promise<void> {
    const { source, id, log } = this.options;
    try {
      const known = await readStanding(source);
      if (known.standing.state === 'moving' && known.standing.id === id) {
        await changeStanding(source, known, { state: 'here' });
      }
    } catch (error) {
      // The mover's lease ends, and whoever opens the source sees that.
      log.warn({ error: AppError.from(error).message }, 'could not take back a move of the coordinator');
    }
    await this.lease?.revoke().catch(() => {});
  }

  /** The move is decided: that this fails is only noted, as whoever comes does it. */
  private async arrive(): Promise<void> {
    const { target, id, log } = this.options;
    try {
      const known = await readStanding(target);
      if (known.standing.id === id) await changeStanding(target, known, { state: 'here' });
    } catch (error) {
      log.warn({ error: AppError.from(error).message }, 'could not note that the coordinator has arrived');
    }
  }
}

function* batches(entries: readonly KeyValue[]): Generator<KeyValue[]> {
  let batch: KeyValue[] = [];
  let bytes = 0;
  for (const kv of entries) {
    const size = kv.key.length + kv.value.length;
    if (batch.length > 0 && (batch.length === BATCH_KEYS || bytes + size > BATCH_BYTES)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(kv);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}
