import { type Clock, sleep } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { forEachLimit } from '../base/signal.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import type { ClusterView } from '../cluster/epochs/view.js';
import { removeOf } from '../cluster/objects/mutation.js';
import type { Session } from '../cluster/objects/object-client.js';
import type { Coordinator, Op } from '../coord/coordinator.js';
import { dataOid, inodeOid, vmstateOid } from '../wire/oid.js';
import { epochIsNewest } from './claim-conditions.js';
import { addressIn, type Directory } from './directory.js';
import { forgettable, neighboursOf } from './family.js';
import { keys, type VdiRecord } from './records.js';
import { readIndex } from './volume-index.js';
import type { VolumeManager } from './volume-manager.js';

const PARALLEL = 16;
const RETRY_MS = 50;
/** What is not freed then stays until its volume is deleted. */
const RELEASE_TRIES = 100;
/** While an index that should be there is not found. */
const FREE_TRIES = 20;
/** Records in one transaction: coordinators take some hundred operations. */
const FORGOTTEN_AT_ONCE = 60;

export interface GarbageOptions {
  readonly cluster: ClusterNode;
  readonly coordinator: Coordinator;
  readonly directory: Directory;
  readonly clock: Clock;
  readonly log: Logger;
  readonly manager: () => VolumeManager;
}

/** The right to remove what is left of a version, and the session under which that is done. */
interface Claim {
  readonly record: VdiRecord;
  readonly session: Session;
}

/**
 * Frees what a deleted version leaves behind: every object it refers to that no neighbour refers to (D-3). All steps
 * can be repeated, so whoever finds an unfinished one after a crash does it again from the start. But one at a time:
 * when all is gone the vid is given out again, and a second one who is late would remove the objects of another
 * volume. So whoever cleans up says so in the record, under an incarnation that the replicas refuse once it is out.
 */
export class Garbage {
  private readonly freeing = new Map<number, Promise<number | undefined>>();
  private readonly forgetting = new Map<number, Promise<void>>();
  /** Reservations that were to be undone here, as they were: until then their maker is up, and nobody else may. */
  private readonly abandoned = new Map<number, string>();
  /** What was begun under the present claim of a version, and has not come to its end. */
  private readonly begun = new Set<number>();
  /** Removals of released objects that are under way, by line. */
  private readonly releasing = new Map<string, Set<Promise<void>>>();

  constructor(private readonly options: GarbageOptions) {}

  /** Frees one deleted version, or waits while another node does. Resolves with the number of objects freed here. */
  async free(vid: number, onProgress: (done: number, total: number) => void = () => {}): Promise<number> {
    for (let tries = FREE_TRIES; ; ) {
      try {
        const freed = await this.freeOnce(vid, onProgress);
        if (freed !== undefined) return freed;
      } catch (error) {
        // It is deleted already: who asked for that must not hear that it failed. A relative may be half gone now.
        if (!AppError.isCode(error, 'again', 'no-object')) throw error;
        if (!AppError.isCode(error, 'again') && --tries === 0) {
          this.options.log.warn({ vid, err: AppError.from(error).message }, 'freeing is left to the sweep');
          return 0;
        }
      }
      await sleep(this.options.clock, RETRY_MS);
    }
  }

  /** Undefined: another node is at it. */
  private freeOnce(
    vid: number,
    onProgress: (done: number, total: number) => void = () => {},
  ): Promise<number | undefined> {
    const running = this.freeing.get(vid);
    if (running !== undefined) return running;
    const work = this.run(vid, onProgress).finally(() => this.freeing.delete(vid));
    this.freeing.set(vid, work);
    return work;
  }

  /** Resolves when no removal is under way that a volume of this line asked for. */
  async released(line: string): Promise<void> {
    await Promise.allSettled([...(this.releasing.get(line) ?? [])]);
  }

  /** After a volume stopped referring to an object of an ancestor: it goes when nobody is left who refers to it. */
  async release(record: VdiRecord, index: number, owner: number): Promise<void> {
    const { line } = record;
    const session = this.options.cluster.client.session();
    const work = this.whenSettled(session, () => this.removeReleased(session, record, index, owner));
    const others = this.releasing.get(line) ?? new Set();
    this.releasing.set(line, others.add(work));
    try {
      await work;
    } finally {
      others.delete(work);
      if (others.size === 0) this.releasing.delete(line);
    }
  }

  /**
   * A neighbour that is only being made, or just going, cannot be asked; but it soon is the one or the other. Always
   * under the session under which the volume was held: once that is out, the vids may be in other hands.
   */
  private async whenSettled({ origin }: Session, work: () => Promise<void>): Promise<void> {
    for (let tries = RELEASE_TRIES; ; tries--) {
      try {
        return await work();
      } catch (error) {
        const isOut = this.options.cluster.client.session().origin.incarnation !== origin.incarnation;
        if (!AppError.isCode(error, 'again') || tries === 0 || isOut) throw error;
      }
      await sleep(this.options.clock, RETRY_MS);
    }
  }

  private async removeReleased(
    session: Session,
    record: VdiRecord,
    index: number,
    owner: number,
  ): Promise<void> {
    const { directory, cluster } = this.options;
    const parent = directory.vdi(record.parent);
    // A living parent refers to everything its children inherited.
    if (parent === undefined || parent.state !== 'deleted') return;
    const family = directory.family(record.root);
    for (const vid of neighboursOf(record.vid, family)) {
      const entries = await this.indexOf(session, family.get(vid)!);
      if (entries[index] === owner) return;
    }
    // Durably: nobody would look for what a power cut brings back.
    await cluster.client.change(session, addressIn(record, dataOid(owner, index)), removeOf(true));
  }

  /**
   * Finishes what crashed nodes left: deleted versions not yet freed, and versions that were never completed. One node
   * does that for all; but what one has begun and not ended, because the coordinator was away, only itself can.
   */
  async sweep(whose: 'all' | 'own'): Promise<void> {
    const { directory } = this.options;
    for (const { vid } of directory.vdis()) {
      // As it is now: what came before it may have taken long, and its vid may be another volume's.
      const record = directory.vdi(vid);
      if (record === undefined) continue;
      if (whose === 'own' && !this.isOwn(record.cleaner) && !this.isAbandoned(record)) continue;
      try {
        await this.tidy(record);
      } catch (error) {
        // One version whose objects must wait does not keep the others from being freed.
        this.options.log.warn({ vid, err: AppError.from(error).message }, 'tidying up a version failed');
      }
    }
  }

  private async tidy(record: VdiRecord): Promise<void> {
    const view = this.options.cluster.objects.context?.view;
    if (view === undefined) return;
    if (record.state === 'deleted' && !record.freed) await this.freeOnce(record.vid);
    if (record.state !== 'pending' || record.maker === undefined) return;
    if (!isUp(view, record.maker) || this.isAbandoned(record)) await this.forgetPending(record);
  }

  /** Undefined: somebody else has it, or the record has changed. */
  private async claim(record: VdiRecord, changes: Partial<VdiRecord> = {}): Promise<Claim | undefined> {
    const { cluster, coordinator, directory } = this.options;
    const view = cluster.objects.context?.view;
    const session = cluster.client.session();
    const { vid, maker, cleaner: present } = record;
    const isMine = this.isOwn(present);
    const isNow = JSON.stringify(directory.vdi(vid)) === JSON.stringify(record);
    if (isMine && isNow && !this.begun.has(vid)) {
      this.begun.add(vid);
      return { record, session };
    }
    const others = [maker, present].filter((who) => who !== undefined && this.isOther(who.nodeId));
    if (view === undefined || others.some((who) => isUp(view, who!))) return undefined;
    // Once more: what the last attempt sent to the coordinator may still come, and must miss; or it has come, and the
    // vid is in other hands.
    const attempt = isMine ? (present?.attempt ?? 0) + 1 : undefined;
    const { nodeId, incarnation } = session.origin;
    const cleaner = { nodeId, incarnation, ...(attempt !== undefined && { attempt }) };
    const claimed: VdiRecord = { ...record, ...changes, cleaner };
    const key = keys.vdi(vid);
    const taken = await coordinator.txn(
      // Who is not up in an old epoch may have begun this in a newer one.
      [{ key, value: JSON.stringify(record) }, ...(others.length > 0 ? epochIsNewest(view) : [])],
      [{ type: 'put', key, value: JSON.stringify(claimed) }],
    );
    if (!taken.ok) return undefined;
    this.begun.add(vid);
    await directory.seen(taken.revision);
    return { record: claimed, session };
  }

  private isOther(nodeId: string): boolean {
    return nodeId !== '' && nodeId !== this.options.cluster.objects.selfId;
  }

  private isOwn(cleaner: VdiRecord['cleaner']): boolean {
    const { nodeId, incarnation } = this.options.cluster.client.session().origin;
    return cleaner?.nodeId === nodeId && cleaner.incarnation === incarnation;
  }

  /**
   * Undoes the reservation of a version that was never completed; does nothing when it was completed after all. Only
   * once the record says that nobody makes it any more can its maker not complete it behind our back, and only then
   * may its inode go. A crash in between leaves a pending record without a maker, which the sweep finds.
   */
  forgetPending(record: VdiRecord): Promise<void> {
    const { vid } = record;
    const running = this.forgetting.get(vid);
    if (running !== undefined && this.isAbandoned(record)) return running;
    this.abandoned.set(vid, JSON.stringify(record));
    // An earlier one of this vid may wait for the last answer only, and the vid has been reserved again.
    const before = running?.catch(() => {}) ?? Promise.resolve();
    const work = before
      .then(() => this.runForget(record))
      .finally(() => {
        if (this.forgetting.get(vid) === work) this.forgetting.delete(vid);
      });
    this.forgetting.set(vid, work);
    return work;
  }

  private isAbandoned(record: VdiRecord): boolean {
    return this.abandoned.get(record.vid) === JSON.stringify(record);
  }

  private async runForget(pending: VdiRecord): Promise<void> {
    const { coordinator, cluster, directory } = this.options;
    const claim = await this.claim(pending, { maker: { nodeId: '', incarnation: '' } });
    if (claim === undefined) return;
    const { record, session } = claim;
    const key = keys.vdi(record.vid);
    const doomed = JSON.stringify(record);
    const index = await this.indexLeft(session, record);
    const own = [...index.keys()].filter((i) => index[i] === record.vid);
    await forEachLimit(own, PARALLEL, (i) =>
      cluster.client.change(session, addressIn(record, dataOid(record.vid, i)), removeOf(false)),
    );
    await cluster.client.change(session, addressIn(record, inodeOid(record.vid)), removeOf(true));
    const { ok, revision } = await coordinator.txn([{ key, value: doomed }], [{ type: 'delete', key }]);
    // The vid may be another volume's from now on, and it is the directory that says so here.
    if (ok) await directory.seen(revision);
    else await directory.catchUp();
    this.begun.delete(record.vid);
    if (this.isAbandoned(pending)) this.abandoned.delete(record.vid);
  }

  private async run(
    vid: number,
    onProgress: (done: number, total: number) => void,
  ): Promise<number | undefined> {
    const { directory, cluster, log } = this.options;
    const found = directory.vdi(vid);
    // A record that says so stays for the sake of descendants.
    if (found === undefined || found.state !== 'deleted' || found.freed) return 0;
    const claim = await this.claim(found);
    if (claim === undefined) return undefined;
    const { record, session } = claim;
    await this.released(record.line);
    let freed = 0;
    const doomed = await this.unshared(session, record);
    await forEachLimit(doomed, PARALLEL, async (oid) => {
      await cluster.client.change(session, addressIn(record, oid), removeOf(false));
      onProgress(++freed, doomed.length);
    });
    if (doomed.length > 0) await cluster.client.flush(session, record);
    await cluster.client.change(session, addressIn(record, inodeOid(vid)), removeOf(true));
    log.info({ vid: vid.toString(16), objects: freed }, 'freed a deleted version');
    await this.markFreed(record);
    this.begun.delete(vid);
    return freed;
  }

  private async unshared(session: Session, record: VdiRecord): Promise<bigint[]> {
    const { directory } = this.options;
    const family = directory.family(record.root);
    const mine = await this.indexLeft(session, record);
    const neighbours: Uint32Array[] = [];
    const { freeShared } = this.options.cluster.objects.options.mutants ?? {};
    for (const vid of freeShared ? [] : neighboursOf(record.vid, family))
      neighbours.push(await this.indexOf(session, family.get(vid)!));
    const doomed: bigint[] = [];
    for (let index = 0; index < mine.length; index++) {
      const owner = mine[index]!;
      if (owner === 0) continue;
      if (!neighbours.some((other) => other[index] === owner)) doomed.push(dataOid(owner, index));
      // A copy that a crash kept from being pointed to.
      if (owner !== record.vid && record.loose) doomed.push(dataOid(record.vid, index));
    }
    for (let i = 0; i < (record.vmObjects ?? 0); i++) doomed.push(vmstateOid(record.vid, i));
    return doomed;
  }

  /** The inode goes last: when it is gone a crash came after everything else was freed. */
  private async indexLeft(session: Session, record: VdiRecord): Promise<Uint32Array> {
    try {
      return await readIndex(this.options.cluster.client, session, record);
    } catch (error) {
      if (!AppError.isCode(error, 'no-object')) throw error;
      return new Uint32Array(0);
    }
  }

  /**
   * The index as it is now: in the owner's memory when that is here. What is stored is never older than acknowledged.
   * 'again': the version was only being made, or has been freed meanwhile.
   */
  private async indexOf(session: Session, record: VdiRecord): Promise<Uint32Array> {
    const { manager, cluster, directory } = this.options;
    const owned = manager().ownedBy(record.line);
    if (owned?.device.record.vid === record.vid) return owned.device.index.entries;
    try {
      return await readIndex(cluster.client, session, record);
    } catch (error) {
      if (!AppError.isCode(error, 'no-object')) throw error;
      await directory.catchUp();
      if (record.state === 'live' && directory.vdi(record.vid)?.state === 'live') throw error;
      throw new AppError('again', 'the family is changing', { cause: error });
    }
  }

  private async markFreed(record: VdiRecord): Promise<void> {
    const { directory } = this.options;
    const freed: VdiRecord = { ...record, freed: true };
    const family = directory.family(record.root);
    family.set(record.vid, freed);
    // Leaves first, so a crash between two rounds leaves nothing that hangs in the air.
    const forgotten = forgettable(family);
    const first = forgotten.splice(0, FORGOTTEN_AT_ONCE);
    await this.forget(record, first, family, freed);
    while (forgotten.length > 0)
      await this.forget(record, forgotten.splice(0, FORGOTTEN_AT_ONCE), family, undefined);
  }

  /** Deletes these records, if none has changed; and writes that `record` is freed. */
  private async forget(
    record: VdiRecord,
    vids: readonly number[],
    family: ReadonlyMap<number, VdiRecord>,
    freed: VdiRecord | undefined,
  ): Promise<void> {
    const { coordinator, directory } = this.options;
    const key = keys.vdi(record.vid);
    const ops: Op[] = freed === undefined ? [] : [{ type: 'put', key, value: JSON.stringify(freed) }];
    const compares = freed === undefined ? [] : [{ key, value: JSON.stringify(record) }];
    for (const vid of vids) {
      const isOwn = vid === record.vid && freed !== undefined;
      if (!isOwn) compares.push({ key: keys.vdi(vid), value: JSON.stringify(family.get(vid)) });
      ops.push({ type: 'delete', key: keys.vdi(vid) });
    }
    const result = await coordinator.txn(compares, ops);
    if (result.ok) await directory.seen(result.revision);
    else if (directory.vdi(record.vid)?.state === 'deleted')
      throw new AppError('again', 'the family has changed');
  }
}

function isUp(view: ClusterView, { nodeId, incarnation }: { nodeId: string; incarnation: string }): boolean {
  const node = view.nodes.get(nodeId);
  return node?.up === true && node.incarnation === incarnation;
}
