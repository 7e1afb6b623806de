import { AppError } from '../../base/errors.js';
import type { BlockRun } from '../../store/object-store.js';
import { emptyMessage, type PeerMessage, PeerType } from '../../wire/peer-message.js';
import { checkAddress, type ObjectAddress } from '../epochs/address.js';
import type { Copies } from '../epochs/view.js';
import type { Origin } from '../reach/links.js';
import type { Checker, ObjectCheck } from './checker.js';
import { addressed, encodeMutation, type Mutation } from './mutation.js';
import type { EpochContext, ObjectNode } from './object-node.js';
import type { Primary } from './primary.js';

/** Between tries while nothing is known to have changed. */
const RETRY_MS = 20;

/**
 * The right to act for a volume: valid until the node loses its place in the cluster. Everything done in a session
 * that has ended is refused, so that nothing a former owner still had in hand can reach an object (I-3, I-9).
 */
export interface Session {
  readonly origin: Origin;
}

/** A gateway's view of all objects of the cluster. Troubles inside the cluster become waiting, never errors. */
export class ObjectClient {
  constructor(
    private readonly node: ObjectNode,
    private readonly primary: Primary,
    private readonly checker: Checker,
  ) {}

  /** A session of this node as it is now. It ends by itself when the node is excluded or registers anew. */
  session(): Session {
    const incarnation = this.node.options.membership.incarnation;
    return { origin: { nodeId: this.node.selfId, incarnation, closed: false } };
  }

  /** Rejects with 'no-object' when the object does not exist. */
  async read(session: Session, address: ObjectAddress, offset: number, length: number): Promise<Uint8Array> {
    checkAddress(address, offset, length);
    this.checkSession(session);
    const near = this.readNear(address, offset, length);
    if (near !== undefined) {
      const data = near instanceof Promise ? await near : near;
      if (data !== undefined) return data;
    }
    const answer = await this.run(
      session,
      address,
      async () => this.primary.read(address, offset, length, session.origin),
      () => {
        const message = addressed(PeerType.read, address);
        message.offset = offset;
        message.length = length;
        return message;
      },
    );
    return answer instanceof Uint8Array ? answer : answer.payload;
  }

  async change(session: Session, address: ObjectAddress, mutation: Mutation): Promise<void> {
    checkAddress(address, mutation.offset, mutation.length);
    await this.run(
      session,
      address,
      () => this.primary.change(address, mutation, session.origin),
      () => encodeMutation(PeerType.write, address, mutation),
    );
  }

  /**
   * Data and holes of the object, from its start; undefined when it does not exist. With a range only what they say of
   * these bytes is certain (I-2), and this node's own replica may answer.
   */
  async status(
    session: Session,
    address: ObjectAddress,
    range?: { readonly offset: number; readonly length: number },
  ): Promise<BlockRun[] | undefined> {
    this.checkSession(session);
    const near = range && this.statusNear(address, range.offset, range.length);
    if (near !== undefined) return near;
    const answer = await this.run<BlockRun[] | undefined>(
      session,
      address,
      () => this.primary.status(address, session.origin),
      () => addressed(PeerType.status, address),
    );
    return isMessage(answer) ? decodeRuns(answer) : answer;
  }

  /** Compares all in-sync replicas, and makes them right if the mode (CheckMode) says so. */
  async check(session: Session, address: ObjectAddress, mode: number): Promise<ObjectCheck> {
    const answer = await this.run<ObjectCheck>(
      session,
      address,
      () => this.checker.check(address, mode),
      () => Object.assign(addressed(PeerType.check, address), { length: mode }),
    );
    return isMessage(answer) ? (JSON.parse(Buffer.from(answer.payload).toString()) as ObjectCheck) : answer;
  }

  /**
   * Throws 'again' unless the session's node is still certain to be in the cluster: for answers from memory alone,
   * such as holes, that no replica confirms (I-2, I-3).
   */
  confirm(session: Session): void {
    this.checkSession(session);
    if (!this.node.options.membership.leaseValid()) throw new AppError('again', 'the lease has run out');
  }

  /**
   * Everything acknowledged before is on stable storage of every in-sync replica when it resolves (I-1). It waits while
   * some object's in-sync replica is away: it counts as good as the others, also after a power cut of all, so it must
   * have been flushed too. `family`: of the volume.
   */
  async flush(session: Session, family: Copies): Promise<void> {
    for (;;) {
      this.checkSession(session);
      const { context } = this.node;
      // In an epoch that is not known to have been entered nobody is missing for certain: who is counts as the rest do.
      const counts = context?.peered.fired && context.view.allServed(family);
      if (counts && (await this.flushAll(context))) return;
      await this.wait(context);
    }
  }

  private async flushAll(context: EpochContext): Promise<boolean> {
    const { node } = this;
    const local =
      context.view.self?.up && !node.options.mutants?.skipJournalSync ? node.store.flush() : undefined;
    try {
      const remote = context.view.peers.map((id) => node.ask(context, id, emptyMessage(PeerType.flush)));
      await Promise.all([local, ...remote]);
      return context === node.context;
    } catch (error) {
      if (AppError.isCode(error, 'io', 'shutdown')) throw error;
      node.options.log.debug({ err: AppError.from(error).message }, 'a flush is repeated');
      await local?.catch(() => {});
      return false;
    }
  }

  /**
   * From this node's own replica, when it is in sync, nothing in the range is uncommitted and the lease holds: then
   * it has every acknowledged write, and shows none that is not (I-2). Undefined: ask the primary.
   */
  private readNear(
    address: ObjectAddress,
    offset: number,
    length: number,
  ): Uint8Array | Promise<Uint8Array | undefined> | undefined {
    const { node } = this;
    const { context } = node;
    if (context === undefined || !this.mayReadNear(context, address, offset, length)) return undefined;
    try {
      const data = node.store.read(address.oid, offset, length);
      if (data instanceof Promise) return this.confirmNear(data, context, address, offset, length);
      return node.options.membership.leaseValid() ? data : undefined;
    } catch {
      // Missing or bad here: the primary decides what that means.
      return undefined;
    }
  }

  /** As `readNear`. What is not here is left to the primary, too. */
  private statusNear(address: ObjectAddress, offset: number, length: number): BlockRun[] | undefined {
    const { context, store } = this.node;
    if (context === undefined || !this.mayReadNear(context, address, offset, length)) return undefined;
    try {
      const runs = store.blockRuns(address.oid);
      return this.node.options.membership.leaseValid() ? runs : undefined;
    } catch {
      return undefined;
    }
  }

  private async confirmNear(
    data: Promise<Uint8Array>,
    context: EpochContext,
    address: ObjectAddress,
    offset: number,
    length: number,
  ): Promise<Uint8Array | undefined> {
    const { foreground } = this.node;
    const beginMs = foreground.begin();
    try {
      const bytes = await data;
      foreground.end(beginMs);
      return this.mayReadNear(context, address, offset, length) ? bytes : undefined;
    } catch {
      return undefined;
    }
  }

  private mayReadNear(
    context: EpochContext,
    address: ObjectAddress,
    offset: number,
    length: number,
  ): boolean {
    const { node } = this;
    const { serving, targets } = context.view.locate(address);
    if (node.options.mutants?.serveStaleReplica && targets.includes(node.selfId)) return true;
    if (context !== node.context || !context.drained.fired || !serving.includes(node.selfId)) return false;
    if (serving[0] !== node.selfId) {
      if (!context.settledPrimaries.has(serving[0]!)) return false;
    } else if (node.inFlight.has(address.oid) || !context.peered.fired) return false;
    if (node.options.mutants?.nearUncommitted) return node.options.membership.leaseValid();
    return (
      !node.unsettled.overlaps(address.oid, offset, offset + length) && node.options.membership.leaseValid()
    );
  }

  /** Does it at the primary, wherever that is, again and again until there is an outcome. */
  private async run<T>(
    session: Session,
    address: ObjectAddress,
    local: () => Promise<T>,
    remote: () => PeerMessage,
  ): Promise<T | PeerMessage> {
    const { node } = this;
    for (;;) {
      this.checkSession(session);
      const { context } = node;
      const primary = context?.view.locate(address).serving[0];
      if (context !== undefined && primary !== undefined) {
        try {
          if (primary === node.selfId) return await local();
          const message = remote();
          message.epoch = context.view.epoch;
          const beginMs = node.foreground.begin();
          const answer = await node.links.request(primary, message);
          node.foreground.end(beginMs);
          return answer;
        } catch (error) {
          if (!isTransient(error)) throw error;
        }
      }
      await this.wait(context);
    }
  }

  private checkSession(session: Session): void {
    const { membership } = this.node.options;
    if (this.node.stopped) throw new AppError('shutdown', 'this sheep stops');
    if (session.origin.closed || session.origin.incarnation !== membership.incarnation) {
      throw new AppError('again', 'this gateway lost its place in the cluster');
    }
  }

  private async wait(context: EpochContext | undefined): Promise<void> {
    const { node } = this;
    if (context !== node.context) return;
    if (context === undefined) await node.pause(RETRY_MS);
    else await node.pauseInEpoch(context, RETRY_MS);
  }
}

function isTransient(error: unknown): boolean {
  return AppError.isCode(error, 'network', 'again', 'old-epoch', 'new-epoch', 'shutdown');
}

function isMessage(value: unknown): value is PeerMessage {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && 'payload' in value;
}

/** Runs as pairs of u32: length in bytes, 1 for a hole; message.length 0: no such object. */
export function encodeRuns(runs: readonly BlockRun[] | undefined): PeerMessage {
  const answer = emptyMessage(PeerType.status + 1);
  if (runs === undefined) return answer;
  answer.length = 1;
  const table = new Uint32Array(runs.length * 2);
  runs.forEach((run, i) => {
    table[2 * i] = run.lengthBytes;
    table[2 * i + 1] = run.hole ? 1 : 0;
  });
  answer.payload = new Uint8Array(table.buffer);
  return answer;
}

function decodeRuns(answer: PeerMessage): BlockRun[] | undefined {
  if (answer.length === 0) return undefined;
  const bytes = new Uint8Array(answer.payload);
  const table = new Uint32Array(bytes.buffer, 0, bytes.byteLength / 4);
  return Array.from({ length: table.length / 2 }, (_, i) => ({
    lengthBytes: table[2 * i]!,
    hole: table[2 * i + 1] === 1,
  }));
}
